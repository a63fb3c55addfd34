package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// After a power cut, with -store-fsync always, every acknowledged event is replayed byte for byte, and its id is still
// valid. With an interval, the newest events may be missing, and every client gets a gap event.
//
// The disk is a file system in a file. The test stops the program and copies the file. Data that the program has written
// but not synced is in the memory of the system, not in the file. The test assumes that the disk keeps everything that
// the system has written to it.
func TestPowerCut(t *testing.T) {
	for fsync, events := range map[string]int{"250ms": 20_000, "always": 600} {
		t.Run(fsync, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "disk")
			makeDisk(t, image)
			mount := mountDisk(t, image)
			p := startProgram(t, "-store", "file:"+filepath.Join(mount, "store"), "-store-fsync", fsync)
			acknowledged := p.cutPower(t, events, image, image+".cut")
			mount = mountDisk(t, image+".cut")
			store := filepath.Join(mount, "store")
			write(t, filepath.Join(store, "open"), "the boot before the power cut")
			p = startProgram(t, "-store", "file:"+store, "-store-fsync", fsync)
			lost := acknowledged.checkPrefix(t, p.url, map[string]string{"250ms": "epoch"}[fsync])
			p.kill(t)
			t.Logf("%d of %d acknowledged events are lost", lost, len(acknowledged.data))
			if fsync == "always" && lost > 0 {
				t.Error("synced events are lost")
			}
		})
	}
}

func makeDisk(t *testing.T, image string) {
	t.Helper()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 256<<20); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Skipf("cannot make a file system: %v %s", err, output)
	}
}

func mountDisk(t *testing.T, image string) (mount string) {
	t.Helper()
	mount = t.TempDir()
	if output, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
		t.Skipf("cannot mount a file system: %v %s", err, output)
	}
	t.Cleanup(func() {
		if output, err := exec.Command("umount", "--lazy", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, output)
		}
	})
	return mount
}

// cutPower publishes until that many events are acknowledged, then copies the disk. It returns the acknowledged events.
func (p *started) cutPower(t *testing.T, events int, image, copied string) *ledger {
	t.Helper()
	l := &ledger{data: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	enough := make(chan struct{})
	var once sync.Once
	var publishers sync.WaitGroup
	for n := range 8 {
		publishers.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				data := fmt.Sprintf("%d/%d", n, i)
				ids, err := postEvents(ctx, p.url, data, 1)
				if err == nil && l.add(ids, data) == events {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	select {
	case <-enough:
	case <-time.After(3 * time.Minute):
		t.Error("too few events are acknowledged in three minutes")
	}
	if err := p.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	cancel() // responses that arrive from now on were sent before
	publishers.Wait()
	if output, err := exec.Command("cp", image, copied).CombinedOutput(); err != nil {
		t.Errorf("cp: %v %s", err, output)
	}
	p.kill(t)
	return l
}

// checkPrefix compares the events of the program with the acknowledged ones, and returns how many are lost. Only the newest may be
// lost. A client with the id of a kept event gets a gap event.
func (l *ledger) checkPrefix(t *testing.T, url, gap string) (lost int) {
	t.Helper()
	ids, err := postEvents(t.Context(), url, "after", 1)
	if err != nil {
		t.Fatal(err)
	}
	epoch, digits, _ := strings.Cut(ids[0], "-")
	after, _ := strconv.Atoi(digits)
	kept, newest := replay(t, url, epoch+"-0", ids[0]), 0
	for sequence := range kept {
		if sequence < after { // the numbers of lost events may be skipped
			newest = max(newest, sequence)
		}
	}
	for id, data := range l.data {
		old, digits, _ := strings.Cut(id, "-")
		sequence, _ := strconv.Atoi(digits)
		if old == epoch {
			t.Fatal("the epoch did not change")
		}
		if sequence > newest {
			lost++
		} else if kept[sequence] != data {
			t.Errorf("%s was acknowledged with %q, now has %q", id, data, kept[sequence])
		}
	}
	last := fmt.Sprintf("%s-%d", oldEpoch(l), after-1)
	if got := gapOf(t, url, last); got != gap {
		t.Errorf("%s gets the gap %q, want %q", last, got, gap)
	}
	if gap != "" {
		return lost
	}
	if rest := replay(t, url, last, ids[0]); len(rest) != 1 {
		t.Errorf("the replay after %s has %v, want one event", last, rest)
	}
	if got := gapOf(t, url, fmt.Sprintf("%s-%d", oldEpoch(l), after)); got != "epoch" {
		t.Errorf("the id of a lost event gets the gap %q", got)
	}
	return lost
}

func oldEpoch(l *ledger) string {
	for id := range l.data {
		epoch, _, _ := strings.Cut(id, "-")
		return epoch
	}
	return ""
}

// replay returns the data by sequence, up to the event with the id.
func replay(t *testing.T, url, lastEventID, to string) map[int]string {
	t.Helper()
	response := from(t, url, lastEventID)
	if gap := response.Header.Get("Event-Gap"); gap != "" {
		t.Fatalf("%s gets the gap %q", lastEventID, gap)
	}
	data, id := map[int]string{}, ""
	for lines := bufio.NewScanner(response.Body); id != to && lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			lines.Scan()
			_, digits, _ := strings.Cut(value, "-")
			sequence, _ := strconv.Atoi(digits)
			data[sequence], id = strings.TrimPrefix(lines.Text(), "data: "), value
		}
	}
	return data
}
