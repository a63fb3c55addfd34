//go:build embedclient

package main

import (
	"embed"
	"io/fs"
)

// The folder is a copy of files in dist/, made by make client.
//
//go:embed client/eventsource.js.br client/eventsource.js.gz client/eventsource.mjs.br client/eventsource.mjs.gz
//go:embed client/eventsource.worker.js.br client/eventsource.worker.js.gz client/eventsource.wasm.br client/eventsource.wasm.gz
var embedded embed.FS

// embeddedClient returns the compressed files of the JavaScript client.
func embeddedClient() fs.FS {
	files, err := fs.Sub(embedded, "client")
	if err != nil {
		panic(err) // the name is a valid path
	}
	return files
}
