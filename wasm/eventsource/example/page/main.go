//go:build js && wasm

// An example page in Go that reads an event stream with a token. Build it, and copy the support script of the same Go version
// next to it:
//
//	GOOS=js GOARCH=wasm go build -ldflags='-s -w' -trimpath -o page.wasm .
//	cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" index.html .
package main

import (
	"context"
	"errors"
	"syscall/js"
	"time"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource"
)

var document = js.Global().Get("document")

func main() {
	stop := func() {}
	// A function that JavaScript calls must not block, so the stream is read in a goroutine.
	listen("follow", "submit", func(event js.Value) {
		event.Call("preventDefault")
		stop()
		ctx, cancel := context.WithCancel(context.Background())
		stop = cancel
		go follow(ctx, element("url").Get("value").String(), element("token").Get("value").String())
	})
	listen("stop", "click", func(js.Value) { stop() })
	show("state", "ready")
	select {}
}

// follow shows the stream's events until the context is done.
func follow(ctx context.Context, url, token string) {
	source, err := eventsource.New(url, eventsource.Options{
		Header:      map[string][]string{"Authorization": {"Bearer " + token}},
		IdleTimeout: time.Minute,
		Retry:       &eventsource.Retry{},
		OnOpen:      func(eventsource.Response) { show("state", "open") },
		OnError:     func(e *eventsource.Error) { show("state", string(e.Reason)) },
	})
	if err != nil {
		show("state", err.Error())
		return
	}
	for event, err := range source.Events(ctx) {
		switch {
		case errors.Is(err, eventsource.ReasonAborted):
			show("state", "stopped")
		case err != nil:
			show("state", err.Error())
		default:
			item := document.Call("createElement", "li")
			item.Set("textContent", event.Data)
			element("events").Call("append", item)
		}
	}
}

func element(id string) js.Value { return document.Call("getElementById", id) }

func show(id, text string) { element(id).Set("textContent", text) }

func listen(id, event string, listener func(event js.Value)) {
	element(id).Call("addEventListener", event, js.FuncOf(func(_ js.Value, args []js.Value) any {
		listener(args[0])
		return nil
	}))
}
