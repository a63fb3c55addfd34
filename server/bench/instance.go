package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An instance is a running server, seen from the clients' process.
type instance struct {
	addr     string
	protocol string
	path     string
	pids     []int // the server's processes

	publish func(count int) error // returns after the request, before the events are published
	figures func() (figures, error)
	free    func() error // returns unused memory to the system, if the server can
	stop    func() error
}

// launch starts a contestant in its own process.
func launch(c contestant, history, dataBytes int) (*instance, error) {
	if c.name == "nchan" {
		if c.protocol != "" && c.protocol != plainHTTP {
			return nil, fmt.Errorf("nchan over %s %w", c.protocol, errAbsent)
		}
		return launchNchan(history, dataBytes)
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.Command(executable, "-serve", c.name, "-protocol", cmp.Or(c.protocol, plainHTTP), "-sendbuffer", strconv.Itoa(c.sendBuffer), "-history", strconv.Itoa(history), "-bytes", strconv.Itoa(dataBytes))
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	i, err := connect(command, input, bufio.NewReader(output), c.path)
	if err == nil {
		i.protocol = cmp.Or(c.protocol, plainHTTP)
	}
	return i, err
}

func connect(command *exec.Cmd, input io.WriteCloser, output *bufio.Reader, path string) (*instance, error) {
	stop := func() error {
		input.Close()
		command.Process.Kill()
		command.Wait()
		return nil
	}
	ask := func(question string) (f figures, err error) {
		if _, err := io.WriteString(input, question+"\n"); err != nil {
			return f, err
		}
		line, err := output.ReadBytes('\n')
		if err != nil {
			return f, err
		}
		if err := json.Unmarshal(line, &f); err != nil {
			return f, err
		}
		if f.Error != "" {
			return f, errors.New(f.Error)
		}
		return f, nil
	}
	addr, err := output.ReadString('\n')
	if err != nil {
		stop()
		return nil, fmt.Errorf("the server printed no address: %w", err)
	}
	return &instance{
		addr: strings.TrimSpace(addr),
		path: path,
		pids: []int{command.Process.Pid},
		publish: func(count int) error {
			_, err := fmt.Fprintf(input, "publish %d\n", count)
			return err
		},
		figures: func() (figures, error) { return ask("figures") },
		free:    func() error { _, err := ask("free"); return err },
		stop:    stop,
	}, nil
}

// cpu returns the server's CPU time, user and kernel, in nanoseconds, from the clock of clock_getcpuclockid(3).
func (i *instance) cpu() (time.Duration, error) {
	var total time.Duration
	for _, pid := range i.pids {
		var used unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|2), &used); err != nil {
			return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
		}
		total += time.Duration(used.Nano())
	}
	return total, nil
}

// memory returns the server's resident bytes. Memory that its processes share counts once, and mapped files do not count.
func (i *instance) memory() (int64, error) {
	var total int64
	for _, pid := range i.pids {
		sizes, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for _, name := range []string{"Pss_Anon:", "Pss_Shmem:"} {
			_, rest, _ := bytes.Cut(sizes, []byte(name))
			var kilobytes int64
			if _, err := fmt.Sscan(string(rest[:min(32, len(rest))]), &kilobytes); err != nil {
				return 0, fmt.Errorf("%s of process %d: %w", name, pid, err)
			}
			total += kilobytes << 10
		}
	}
	return total, nil
}
