package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// sizes are those of what a page loads, in bytes of brotli. Whoever makes a file grow by more than two percent states it here,
// and in the README; the wasm is never to have more than the most.
var sizes = []struct {
	file           string
	recorded, most int64
}{
	{"eventsource.wasm.br", 311_000, 350_000},
	{"eventsource.js.br", 14_240, 15_000},
	{"eventsource.mjs.br", 14_150, 15_000},
	{"eventsource.worker.js.br", 9_890, 12_000},
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
			t.Errorf("%s has %d bytes, more than the %d that a page may be asked to load", want.file, size, want.most)
		case size > want.recorded+want.recorded/50:
			t.Errorf("%s has grown from %d to %d bytes: if that is worth it, record it here and in the README", want.file, want.recorded, size)
		case size < want.recorded-want.recorded/50:
			t.Errorf("%s has shrunk from %d to %d bytes: record it here, or it may grow back unnoticed", want.file, want.recorded, size)
		}
	}
}
