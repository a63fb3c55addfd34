package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

type pipeListener struct {
	net.Listener
	conn net.Conn
}

func (l pipeListener) Accept() (net.Conn, error) { return l.conn, nil }

// A slow link takes one round trip for the handshake, another for the first byte, and time for each byte.
func TestLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		l := link{rate: 100_000, latency: 100 * time.Millisecond}
		conn, err := l.listen(pipeListener{conn: server}).Accept()
		if err != nil {
			t.Fatal(err)
		}
		sent := bytes.Repeat([]byte("0123456789"), 10_000)
		began := time.Now()
		go conn.Write(sent)
		got := make([]byte, len(sent))
		io.ReadFull(client, got[:1])
		first := time.Since(began)
		io.ReadFull(client, got[1:])
		if all := time.Since(began); first != 200*time.Millisecond || all.Round(100*time.Millisecond) != 1100*time.Millisecond {
			t.Errorf("the first byte took %v, all bytes %v", first, all)
		}
		if !bytes.Equal(got, sent) {
			t.Error("received other bytes than were sent")
		}
		conn.Close()
		if _, err := conn.Write(sent); err == nil {
			t.Error("Write on a closed connection succeeded")
		}
		client.Close()
	})
}

// The pages finish in a browser and report plausible figures.
func TestPages(t *testing.T) {
	t.Chdir("../..")
	if _, err := os.Stat("dist/eventsource.wasm.br"); err != nil {
		t.Fatalf("%v: run `make build`", err)
	}
	for _, starter := range starters[:6] {
		t.Run(starter.name, func(t *testing.T) {
			cold, warm, err := measureStart(t.Context(), links[0], starter.head, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []start{cold, warm} {
				if s.Request <= 0 || s.Opened < s.Request || s.First < s.Opened {
					t.Errorf("times out of order: %+v", s)
				}
			}
			// A worker's module may still be loading when the page is left.
			wanted, without := strings.Contains(starter.head, "ready"), starter.name == "native" || starter.name == "ours without Go"
			if wanted && cold.Bytes < 100_000 || without && cold.Bytes > 20_000 {
				t.Errorf("%d bytes were sent", cold.Bytes)
			}
		})
	}
	m, err := measureMemory(t.Context(), "ours", 1000, scripts{"peers.js": []byte("const peers = {};")})
	if err != nil || m.Failure != "" {
		t.Fatal(err, m.Failure)
	}
	if m.Empty <= 0 || m.One <= m.Empty || m.Many <= m.One || m.Before <= 0 || m.After <= 0 {
		t.Errorf("implausible: %+v", m)
	}
}

func TestTablesOfStartsAndMemories(t *testing.T) {
	ours := starting{Name: "ours", Starts: map[string][]start{}}
	for _, kind := range startKinds {
		ours.Starts[kind] = []start{{Request: 1, Ready: 2, Opened: 3, First: 9}, {First: 4, Longest: 51}, {First: 5}}
	}
	table := startTable([]starting{ours})
	for _, want := range []string{"| ours | 0 | 5 (4 to 9) | 5 (4 to 9) | 5 (4 to 9) | 5 (4 to 9) | 51 |", "| the request arrives at the server | 0 | 0 |"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
	table = memoryTable([]memory{{Name: "ours", Empty: 1000, One: 5000, Many: 405_000, Closed: 6000, Before: 1000, After: 3000, Longest: 60}, {Name: "b", Failure: "lost"}}, 7)
	for _, want := range []string{"| ours | 4 | 4.0 | 1 | 2 | 60 |", "| b | fails: lost |"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
}
