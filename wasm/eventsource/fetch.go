//go:build js && wasm

package eventsource

import (
	"context"
	"errors"
	"strings"
	"syscall/js"

	"github.com/hack-pad/safejs"

	"github.com/eventsource-wasm/eventsource-wasm/wasm/lifecycle"
)

// A Transport sends the requests of a source. Its field is another one outside browsers (GOOS other than js).
type Transport struct {
	// Fetch is a function to call instead of the global fetch. It should abort the request when the signal among its
	// arguments says so.
	Fetch safejs.Value
}

// errEnd is returned at the end of a body.
var errEnd = errors.New("end of the body")

// resolve returns the absolute URL without its fragment. The base is the document's, or the script's URL in a worker.
func resolve(address string) (string, error) {
	args := []any{address}
	if base := baseURL(); base != "" {
		args = append(args, base)
	}
	url, err := construct("URL", args...)
	if err != nil {
		return "", errors.New("eventsource: the URL is invalid, or relative without a document")
	}
	if host := text(url, "hostname"); !strings.HasPrefix(host, "[") && isForbiddenHost(host) {
		return "", errors.New("eventsource: the URL's host contains a forbidden character")
	}
	if text(url, "username") != "" || text(url, "password") != "" {
		return "", errors.New("eventsource: the URL contains a user name: set Authorization in Options.Header instead")
	}
	if err := url.Set("hash", ""); err != nil {
		return "", err
	}
	return text(url, "href"), nil
}

func baseURL() string {
	if document, err := safejs.Global().Get("document"); err == nil {
		if base := text(document, "baseURI"); base != "" {
			return base
		}
	}
	location, err := safejs.Global().Get("location")
	if err != nil {
		return ""
	}
	return text(location, "href")
}

func origin(address string) string {
	url, err := construct("URL", address)
	if err != nil {
		return ""
	}
	return text(url, "origin")
}

// send sends a request: the standard's "potential-CORS request" with the cache mode no-store.
func (s *Source) send(ctx context.Context, r request) (*response, error) {
	abort, err := construct("AbortController")
	if err != nil {
		return nil, err
	}
	init, err := s.requestInit(r, abort)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { abort.Call("abort") })
	policy := watchPolicy(r.url)
	defer policy.stop()
	received, err := s.fetch(ctx, r.url, init)
	if err != nil {
		return nil, s.explain(ctx, r.url, policy, err)
	}
	return newResponse(r.url, received)
}

func (s *Source) fetch(ctx context.Context, url string, init map[string]any) (safejs.Value, error) {
	var promise safejs.Value
	var err error
	if s.options.Transport.Fetch.IsUndefined() {
		promise, err = safejs.Global().Call("fetch", url, init)
	} else {
		promise, err = s.options.Transport.Fetch.Invoke(url, init)
	}
	if err != nil {
		return safejs.Value{}, err
	}
	return await(ctx, promise)
}

func (s *Source) requestInit(r request, abort safejs.Value) (map[string]any, error) {
	signal, err := abort.Get("signal")
	if err != nil {
		return nil, err
	}
	var headers []any
	for name, values := range r.header {
		for _, value := range values {
			headers = append(headers, []any{name, lifecycle.ByteString(value)})
		}
	}
	init := map[string]any{"headers": headers, "credentials": "same-origin", "cache": "no-store", "signal": signal}
	if s.options.WithCredentials {
		init["credentials"] = "include"
	}
	if r.method != "" {
		init["method"] = r.method
	}
	if r.body != nil {
		init["body"], err = uint8Array(r.body)
	}
	return init, err
}

func uint8Array(b []byte) (safejs.Value, error) {
	array, err := construct("Uint8Array", len(b))
	if err == nil {
		_, err = safejs.CopyBytesToJS(array, b)
	}
	return array, err
}

func newResponse(requested string, received safejs.Value) (*response, error) {
	status, err := received.Get("status")
	if err != nil {
		return nil, err
	}
	r := &response{Response: Response{URL: text(received, "url")}}
	if r.Status, err = status.Int(); err != nil {
		return nil, err
	}
	if r.URL == "" {
		r.URL = requested // a Response made by a service worker or Transport.Fetch has no URL
	}
	headers, err := received.Get("headers")
	if err != nil {
		return nil, err
	}
	if r.Header, err = readHeaders(headers); err != nil {
		return nil, err
	}
	if values := r.Header["Retry-After"]; len(values) > 0 {
		r.retryAfter = retryAfter(values[0])
	}
	r.body, err = newBody(received)
	return r, err
}

func readHeaders(headers safejs.Value) (map[string][]string, error) {
	array, err := safejs.Global().Get("Array")
	if err != nil {
		return nil, err
	}
	pairs, err := array.Call("from", headers)
	if err != nil {
		return nil, err
	}
	n, err := pairs.Length()
	header := make(map[string][]string, n)
	for i := range n {
		pair, err := pairs.Index(i)
		if err != nil {
			return nil, err
		}
		name, value := canonicalName(item(pair, 0)), item(pair, 1)
		header[name] = append(header[name], value)
	}
	return header, err
}

// retryAfter parses a date or a number of seconds (RFC 9110, section 10.2.3). It returns milliseconds, 0 for anything else.
func retryAfter(value string) uint64 {
	if delay, ok := delaySeconds(value); ok {
		return delay
	}
	date, err := safejs.Global().Get("Date")
	if err != nil {
		return 0
	}
	return uint64(max(call(date, "parse", value)-call(date, "now"), 0)) // an invalid date is NaN, which converts to 0
}

// A body reads the response's ReadableStream.
type body struct {
	reader safejs.Value
	buffer []byte
}

func newBody(received safejs.Value) (*body, error) {
	stream, err := received.Get("body")
	if err != nil || stream.IsNull() || stream.IsUndefined() {
		return &body{}, err // 204, or a service worker's answer
	}
	reader, err := stream.Call("getReader")
	return &body{reader: reader}, err
}

func (b *body) read(ctx context.Context) ([]byte, error) {
	if b.reader.IsUndefined() {
		return nil, errEnd
	}
	promise, err := b.reader.Call("read")
	if err != nil {
		return nil, err
	}
	result, err := await(ctx, promise)
	if err != nil {
		return nil, err
	}
	if done, err := result.Get("done"); err != nil {
		return nil, err
	} else if ended, err := done.Truthy(); ended || err != nil {
		return nil, errEnd
	}
	chunk, err := result.Get("value")
	if err != nil {
		return nil, err
	}
	return b.copied(chunk)
}

func (b *body) copied(chunk safejs.Value) ([]byte, error) {
	n, err := chunk.Length()
	if err != nil {
		return nil, err
	}
	if n > cap(b.buffer) {
		b.buffer = make([]byte, n)
	}
	_, err = safejs.CopyBytesToGo(b.buffer[:n], chunk)
	return b.buffer[:n], err
}

// close cancels the stream. The end of the context has aborted a fetch already, but Transport.Fetch may ignore its signal.
func (b *body) close() {
	if b.reader.IsUndefined() {
		return
	}
	canceled, err := b.reader.Call("cancel")
	if err != nil {
		return
	}
	// The promise is rejected if the stream has failed. Any function will do as a handler.
	if handler, err := safejs.Global().Get("Boolean"); err == nil {
		_, _ = canceled.Call("catch", handler)
	}
}

// await waits for a promise. It returns its value, an error if it is rejected, or the context's cause.
func await(ctx context.Context, promise safejs.Value) (safejs.Value, error) {
	type outcome struct {
		value safejs.Value
		err   error
	}
	settled := make(chan outcome, 1)
	var fulfill, reject safejs.Func
	settle := func(o outcome) any {
		settled <- o
		fulfill.Release()
		reject.Release()
		return nil
	}
	var err error
	fulfill, err = safejs.FuncOf(func(_ safejs.Value, args []safejs.Value) any { return settle(outcome{value: args[0]}) })
	if err != nil {
		return safejs.Value{}, err
	}
	reject, err = safejs.FuncOf(func(_ safejs.Value, args []safejs.Value) any { return settle(outcome{err: thrown(args[0])}) })
	if err != nil {
		return safejs.Value{}, err
	}
	if _, err := promise.Call("then", fulfill, reject); err != nil {
		return safejs.Value{}, err
	}
	select {
	case o := <-settled:
		return o.value, o.err
	case <-ctx.Done():
		return safejs.Value{}, context.Cause(ctx)
	}
}

// thrown returns an error for a value that JavaScript threw, which may be of any type.
func thrown(value safejs.Value) error {
	if value.Type() == safejs.TypeObject {
		return js.Error{Value: safejs.Unsafe(value)}
	}
	text, err := value.String()
	if err != nil {
		return err
	}
	return errors.New(text)
}

func construct(class string, args ...any) (safejs.Value, error) {
	value, err := safejs.Global().Get(class)
	if err != nil {
		return value, err
	}
	return value.New(args...)
}

// text returns a string property, or "" if it is not a string.
func text(object safejs.Value, property string) string {
	value, err := object.Get(property)
	if err != nil || value.Type() != safejs.TypeString {
		return ""
	}
	s, _ := value.String()
	return s
}

func item(array safejs.Value, i int) string {
	value, err := array.Index(i)
	if err != nil {
		return ""
	}
	s, _ := value.String()
	return s
}

func call(object safejs.Value, method string, args ...any) float64 {
	value, err := object.Call(method, args...)
	if err != nil {
		return 0
	}
	number, _ := value.Float()
	return number
}
