package e2e

import (
	"go/version"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// A size is the Brotli size of a file that a page loads, in bytes. If a file grows by more than two percent, change the
// size here and in the README. No file may exceed its maximum.
type size struct {
	file           string
	recorded, most int64
}

var sizes = []size{
	moduleSize(),
	{"eventsource.js.br", 15_990, 16_200},
	{"eventsource.mjs.br", 15_880, 16_200},
	{"eventsource.worker.js.br", 16_530, 17_000}, // loaded only by the options worker and shared
}

// moduleSize returns the module's size with this Go version. With a version that the build does not know, the module is
// larger, and only the maximum is known.
func moduleSize() size {
	const file, most = "eventsource.wasm.br", 350_000
	switch version.Lang(runtime.Version()) {
	case "go1.26":
		return size{file, 311_000, most}
	case "go1.27":
		return size{file, 317_000, most}
	default:
		return size{file, 0, 500_000}
	}
}

func TestSizes(t *testing.T) {
	requireDist(t)
	for _, want := range sizes {
		info, err := os.Stat(filepath.Join(dist, want.file))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has %d bytes", want.file, info.Size())
		switch size := info.Size(); {
		case size > want.most:
			t.Errorf("%s has %d bytes, want at most %d", want.file, size, want.most)
		case want.recorded == 0:
		case size > want.recorded+want.recorded/50:
			t.Errorf("%s has grown from %d to %d bytes: if that is worth it, record it here and in the README", want.file, want.recorded, size)
		case size < want.recorded-want.recorded/50:
			t.Errorf("%s has shrunk from %d to %d bytes: record it here, or it may grow back unnoticed", want.file, want.recorded, size)
		}
	}
}
