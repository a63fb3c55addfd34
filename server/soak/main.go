// Command soak tests the server with chaos on real sockets. Clients read fast, slowly or not at all, stall, disconnect,
// half-close, send junk, replay, and come and go. They use HTTP/1.1, TLS and HTTP/2, with and without compression and a
// middleware. Publishers publish as fast as a well-behaved subscriber can read. Clients that read check that each event of
// their filter arrives once and in order, or that a gap event is correct. At the end, all counts must add up, and the
// numbers of bytes, goroutines and files must be back to their initial values.
//
// It uses only the public interface of the server.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"time"
)

func main() {
	log.SetFlags(log.Ltime)
	log.SetPrefix("soak: ")
	p := plan{log: log.Printf}
	flag.DurationVar(&p.duration, "duration", 10*time.Minute, "total `duration` of the run")
	flag.IntVar(&p.clients, "clients", 2000, "`number` of concurrent chaotic clients")
	flag.IntVar(&p.honest, "honest", 200, "`number` of subscribers that stay connected")
	flag.Uint64Var(&p.seed, "seed", uint64(time.Now().UnixNano()), "`seed` of the random choices; a failure prints it")
	flag.Parse()
	report, err := p.run()
	report.print(os.Stdout)
	if err != nil {
		fmt.Fprintf(os.Stderr, "soak: FAILED, seed %d: %v\n", p.seed, err)
		os.Exit(1)
	}
	fmt.Printf("passed, seed %d\n", p.seed)
}
