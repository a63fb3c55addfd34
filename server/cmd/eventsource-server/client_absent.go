//go:build !embedclient

package main

import (
	"embed"
	"io/fs"
)

// embeddedClient returns an empty folder: dist/, which has the JavaScript client, is not in the repository. Binaries of make dist
// have the client.
func embeddedClient() fs.FS { return embed.FS{} }
