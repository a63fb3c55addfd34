package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	issuer "github.com/golang-jwt/jwt/v5"

	"github.com/eventsource-wasm/eventsource-wasm/server"
	"github.com/eventsource-wasm/eventsource-wasm/server/jwt"
	"github.com/eventsource-wasm/eventsource-wasm/server/ratelimit"
	"github.com/eventsource-wasm/eventsource-wasm/sse"
)

// This example serves events, and reads the first one with a client.
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
	if _, err := broker.Publish(context.Background(), "news", sse.Event{Data: "hello"}); err != nil {
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

// This example shuts down a server. Its streams end within a window, each with its own reconnection time. Then the server
// stops listening and lets other requests finish.
func ExampleBroker_Drain() {
	broker := &server.Broker{}
	s := &http.Server{
		Handler:           &server.Handler{Broker: broker, Retry: time.Second},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	response, err := http.Get("http://" + listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()

	// A program would start here when the context of signal.NotifyContext is done.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := broker.Drain(ctx, 10*time.Millisecond); err != nil {
		broker.DisconnectAll() // clients that do not read
	}
	if err := s.Shutdown(ctx); err != nil {
		s.Close()
	}
	broker.Close()

	stream, err := io.ReadAll(response.Body)
	fmt.Println("has a reconnection time:", strings.Contains(string(stream), "\nretry: 1"), "error:", err)
	fmt.Println("shut down:", errors.Is(<-served, http.ErrServerClosed))
	// Output:
	// has a reconnection time: true error: <nil>
	// shut down: true
}

// This handler requires a token, lets pages of one other origin read, and refuses to publish. Only the program publishes.
func ExampleSubscribeOnly() {
	http.Handle("/private", &server.Handler{
		Broker:         &server.Broker{Topics: []string{"orders", "prices"}},
		Authorize:      server.SubscribeOnly(server.BearerToken("the token")),
		AllowedOrigins: []string{"https://app.example"},
	})
}

// JSON Web Tokens list the topics that their bearers may subscribe and publish to. An issuer signs them.
func ExampleHandler_jwt() {
	secret := []byte("a secret with at least 32 bytes.")
	keys, err := jwt.SecretKeys(secret)
	if err != nil {
		log.Fatal(err)
	}
	tokens := &jwt.Authorizer{Keys: keys, Issuer: "https://issuer.example"}
	limiter := &ratelimit.Limiter{Authorize: tokens.Authorize, Rate: 10}
	s := httptest.NewServer(&server.Handler{Broker: &server.Broker{}, Authorize: limiter.Permit})
	defer s.Close()

	token, err := issuer.NewWithClaims(issuer.SigningMethodHS256, issuer.MapClaims{
		"iss":    "https://issuer.example",
		"sub":    "ada",
		"exp":    time.Now().Add(time.Hour).Unix(),
		"events": map[string]any{"subscribe": []string{"orders.>"}, "publish": []string{"orders.new"}},
	}).SignedString(secret)
	if err != nil {
		log.Fatal(err)
	}
	ask := func(method, query, body, authorization string) {
		request, err := http.NewRequest(method, s.URL+query, strings.NewReader(body))
		if err != nil {
			log.Fatal(err)
		}
		request.Header.Set("Authorization", authorization)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		response.Body.Close()
		fmt.Println(method, query, response.Status)
	}
	ask("HEAD", "?topic=orders.*", "", "Bearer "+token)
	ask("HEAD", "?topic=invoices", "", "Bearer "+token)
	ask("HEAD", "?topic=orders.new", "", "Bearer "+token+"x")
	ask("POST", "", "topic=orders.new&data=hello", "Bearer "+token)
	ask("POST", "", "topic=orders.old&data=hello", "Bearer "+token)
	// Output:
	// HEAD ?topic=orders.* 200 OK
	// HEAD ?topic=invoices 403 Forbidden
	// HEAD ?topic=orders.new 401 Unauthorized
	// POST  201 Created
	// POST  403 Forbidden
}

// Tickets let a browser's own EventSource, which cannot send a token, open a protected stream.
func ExampleHandler_ServeTicket() {
	h := &server.Handler{
		Broker:    &server.Broker{},
		Authorize: server.BearerToken("the token"),
		Tickets:   &server.Tickets{},
	}
	mux := http.NewServeMux()
	mux.Handle("/events", h)
	mux.HandleFunc("/ticket", h.ServeTicket)
	s := httptest.NewServer(mux)
	defer s.Close()

	request, err := http.NewRequest(http.MethodPost, s.URL+"/ticket?topic=news", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer the token")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	var answer struct{ Ticket string }
	err = json.NewDecoder(response.Body).Decode(&answer)
	response.Body.Close()
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // a ticket works only once
		response, err := http.Get(s.URL + "/events?ticket=" + answer.Ticket)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(response.Status)
		response.Body.Close()
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
}

// This handler requires different tokens for subscribing and publishing.
func ExampleHandler_authorize() {
	read, write := server.BearerToken("reader's"), server.BearerToken("writer's")
	http.Handle("/orders", &server.Handler{
		Broker: &server.Broker{},
		Authorize: func(r *http.Request, access server.Access) (server.Grant, error) {
			if access.Action == server.ActionPublish {
				return write(r, access)
			}
			return read(r, access)
		},
	})
}
