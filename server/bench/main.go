// Command bench compares the server of this repository with its peers. It needs Linux.
//
// Each contestant runs in its own process on 127.0.0.1, and publishes in that process, like a program that embeds it. This
// process runs the clients. Throughput is measured in windows: a number of events is published at once, and the next window
// when every client has received all of them. Every client checks that each event arrives once and in order.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(log.Ltime)
	log.SetPrefix("bench: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	p := plan{}
	flag.IntVar(&p.Rounds, "rounds", 3, "`number` of rounds")
	flag.DurationVar(&p.Time, "time", 300*time.Millisecond, "`duration` of one throughput measurement")
	flag.DurationVar(&p.Latency, "latency", 2*time.Second, "`duration` of one latency measurement")
	flag.IntVar(&p.Readers, "readers", 1, "`number` of client threads")
	connections := flag.String("connections", "100,1000,10000", "comma-separated `numbers` of connections")
	windows := flag.String("windows", "1,16", "comma-separated `numbers` of events published at once")
	only := flag.String("only", "", "`names` of servers to measure, separated by \";\" (default all)")
	out := flag.String("out", "", "`file` for the results in JSON")
	faults := flag.Bool("faults", false, "run the fault tests instead")
	stalled := flag.Bool("stalled", false, "instead, measure clients while as many others stall in a replay; 10,000 in total unless -connections is set")
	stores := flag.Bool("stores", false, "measure the stores of our server instead")
	protocol := flag.String("protocol", plainHTTP, "`protocol` of all servers: http, tls or h2")
	name := flag.String("serve", "", "run the server with that `name`; for internal use")
	sendBuffer := flag.Int("sendbuffer", 0, "`bytes` of the send buffers of -serve; 0 means the system default")
	history := flag.Int("history", 0, "`number` of events that -serve keeps, if configurable")
	bytes := flag.Int("bytes", dataBytes, "`bytes` of data per event of -serve")
	flag.Parse()
	if *name != "" {
		return serve(*name, *protocol, *sendBuffer, *history, *bytes)
	}
	if *stores {
		return runStores(*out)
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	for i := range chosen {
		chosen[i].protocol = *protocol
	}
	if *faults {
		return runFaults(chosen, *out)
	}
	if *stalled && !given("connections") {
		*connections = "10000"
	}
	if p.Connections, err = numbers(*connections); err != nil {
		return err
	}
	if *stalled {
		p.Connections = possible(p.Connections)
		return runStalled(p, chosen, *out)
	}
	if p.Windows, err = numbers(*windows); err != nil {
		return err
	}
	return runBenchmark(p, chosen, *out)
}

func given(name string) (found bool) {
	flag.Visit(func(f *flag.Flag) { found = found || f.Name == name })
	return found
}

func runBenchmark(p plan, chosen []contestant, out string) error {
	p.Connections = possible(p.Connections)
	m := &measurement{plan: p, missing: map[string]string{}, log: log.Printf}
	m.run(chosen)
	r := newReport(m)
	r.print(os.Stdout)
	if out != "" {
		if err := r.write(out); err != nil {
			return err
		}
	}
	for _, name := range []string{"raw", "ours", "ours, NoHijack"} {
		if why, failed := m.missing[name]; failed {
			return fmt.Errorf("%s: %s", name, why)
		}
	}
	return nil
}

func choose(names string) ([]contestant, error) {
	if names == "" {
		return slices.Clone(contestants), nil
	}
	var chosen []contestant
	for name := range strings.SplitSeq(names, ";") {
		i := slices.IndexFunc(contestants, func(c contestant) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown contestant %q", name)
		}
		chosen = append(chosen, contestants[i])
	}
	return chosen, nil
}

func numbers(list string) (ns []int, err error) {
	for text := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a positive number", text)
		}
		ns = append(ns, n)
	}
	return ns, nil
}

// possible drops numbers of connections that need more file descriptors than a process may have.
func possible(connections []int) []int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		log.Print(err)
		return connections
	}
	return slices.DeleteFunc(slices.Clone(connections), func(n int) bool {
		tooMany := uint64(n)+100 > limit.Max // to which Go raises the soft limit at start
		if tooMany {
			log.Printf("skipping %d connections: the limit is %d file descriptors (ulimit -Hn)", n, limit.Max)
		}
		return tooMany
	})
}
