// Command soak is chaos for the server on real sockets: clients that read, slowly or not at all, stall, cut, half-close,
// send junk, replay and come and go, over HTTP/1.1, TLS and HTTP/2, with and without a coding and a middleware, while
// publishers publish as fast as an honest subscriber keeps up. Whoever reads checks that each event of its filter comes
// once and in order, or a gap that says the truth. At the end, counts must add up, and memory, goroutines and files be
// what they were.
//
// It knows the server by its public interface alone.
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
