package main

import "fmt"

// A Group is a column of the board. Groups about proposals, or about what the standard leaves to the implementation, do not
// count toward the total.
type Group struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Counts bool   `json:"counts"`
	Note   string `json:"note,omitempty"`
}

var groups = []Group{
	{"parsing", "Parsing", true, "fields, line ends, UTF-8, wherever the stream is cut"},
	{"ids", "IDs", true, "the last event ID and the header Last-Event-ID"},
	{"reconnection", "Reconnection", true, "when a connection is made again, and after how long"},
	{"responses", "Responses", true, "status, Content-Type, content codings"},
	{"requests", "URLs, requests", true, "how the URL is resolved, and what is sent"},
	{"cors", "CORS", true, "other origins, credentials, cookies"},
	{"redirects", "Redirects", true, ""},
	{"lifecycle", "Lifecycle", true, "close(), frames and documents that go away"},
	{"documents", "Documents", true, "frames, base URLs, encodings, Content-Security-Policy"},
	{"events", "Events", true, "handlers, listeners, the order of tasks"},
	{"idl", "IDL", true, "the shape of the class, as Web IDL defines it"},
	{"workers", "Workers", true, "dedicated, shared, service, module, blob and data workers"},
	{"headers", "headers", false, "a proposal, whatwg/html#2177: the option headers"},
	{"stream", "fromReadableStream", false, "a proposal, whatwg/html#12272"},
	{"bfcache", "back/forward cache", false, "a proposal, whatwg/html#12381; the events of the page are simulated"},
	{"choice", "left open", false, "the standard leaves it to the implementation: what Chromium does"},
}

// additions is the group of scenarios about our own options and about loading our script. No other implementation can pass
// them, so the board does not run them.
const additions = ""

// ofFile maps files to groups.
var ofFile = map[string]string{
	"parsing": "parsing", "cuts": "parsing",
	"ids":          "ids",
	"reconnection": "reconnection", "retry": "reconnection",
	"answers": "responses", "failures": "responses", "responses": "responses",
	"construction": "requests", "requests": "requests", "forbidden": "requests",
	"crossorigin": "cors",
	"redirects":   "redirects",
	"close":       "lifecycle", "lifetime": "lifecycle",
	"frames":   "documents",
	"handlers": "events", "order": "events",
	"idl":     "idl",
	"workers": "workers",
	"headers": "headers",
	"given":   "stream",

	"inworker": additions, "llm": additions, "loading": additions, "options": additions, "ownfetch": additions, "reading": additions,
	"resuming": additions, "shared": additions,
}

// ofScenario maps scenarios to groups, where the group is not the file's.
var ofScenario = map[string]string{
	"headers/the request has the standard headers":                    "requests",
	"headers/the Referer sent to another origin is the page's origin": "requests",

	"resuming/wake disconnects in the back/forward cache and reconnects afterwards without an error": "bfcache",

	"construction/exceptions have the browser's messages":                                     "choice",
	"retry/an empty retry restores the default reconnection time":                             "choice",
	"retry/a reconnection time beyond 64 bits is ignored":                                     "choice",
	"order/all events of a chunk are dispatched before a timer that one of them sets":         "choice",
	"order/all events of a chunk are dispatched before a port message that one of them posts": "choice",

	"responses/six sources connect to a server at a time, and closing one admits the next": "choice",

	// The fetch begins in parallel, so close() may come too late for the request.
	"close/a source closed in the task that constructs it makes no request":  "choice",
	"close/a hundred sources opened and closed in one task make no request":  "choice",
	"workers/a source closed at once in a dedicated worker makes no request": "choice",
	"workers/a source closed at once in a module worker makes no request":    "choice",
	"workers/a source closed at once in a shared worker makes no request":    "choice",
	"workers/a source closed at once in a blob worker makes no request":      "choice",
	"workers/a source closed at once in a service worker makes no request":   "choice",

	// These are about other additions of ours.
	"headers/an invalid maxEventSize throws a TypeError that names it":    additions,
	"lifetime/the library has page listeners only while a source is open": additions,
}

// groupOf returns the group of a scenario. A file without a group is an error, so that no file is left out by accident.
func groupOf(file, name string) (string, error) {
	if group, ok := ofScenario[file+"/"+name]; ok {
		return group, nil
	}
	group, ok := ofFile[file]
	if !ok {
		return "", fmt.Errorf("the scenarios of %s.js have no group: add the file to groups.go", file)
	}
	return group, nil
}
