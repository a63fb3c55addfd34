package server_test

import (
	"bufio"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// A server of events, and a client that reads the first.
func Example() {
	broker := &server.Broker{}
	http.Handle("/events", &server.Handler{Broker: broker})
	// A program would call http.ListenAndServe("localhost:8080", nil).
	s := httptest.NewServer(http.DefaultServeMux)
	defer s.Close()
	s.Config.RegisterOnShutdown(broker.Close)

	response, err := http.Get(s.URL + "/events?topic=news")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := broker.Publish("news", sse.Event{Data: "hello"}); err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			fmt.Println(data)
			break
		}
	}
	response.Body.Close()
	// Output: hello
}

// A stream for those who have the token, and for the pages of one other origin.
func ExampleBearerToken() {
	http.Handle("/private", &server.Handler{
		Broker:         &server.Broker{Topics: []string{"orders", "prices"}},
		Authorize:      server.BearerToken("the token"),
		AllowedOrigins: []string{"https://app.example"},
	})
}

// Readers by a token, publishers by another.
func ExampleHandler_authorize() {
	read, write := server.BearerToken("reader's"), server.BearerToken("writer's")
	http.Handle("/orders", &server.Handler{
		Broker: &server.Broker{},
		Authorize: func(r *http.Request, access server.Access) (server.Grant, error) {
			if access.Action == server.Publish {
				return write(r, access)
			}
			return read(r, access)
		},
	})
}
