//go:build !js

// Package main_test checks what the browser build links: every page that loads it pays for each import.
package main_test

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/eventsource-wasm/eventsource-wasm/"

// ours may be imported by our own packages: each is small, or linked by the runtime anyway.
var ours = []string{
	"bytes", "errors", "math/bits", "strconv", "strings", "unicode/utf8", "unsafe",
	"github.com/hack-pad/safejs",
}

// never lists packages that must not be linked at all.
var never = []string{"net", "net/http", "net/url", "encoding/json", "context", "regexp", "bufio", "log", "math/big"}

func TestImportsOfBrowserBuild(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Dir,GoFiles", module+"wasm/polyfill")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	checked := 0
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p struct {
			ImportPath string
			Imports    []string
			Dir        string
			GoFiles    []string
		}
		if err := decoder.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(never, p.ImportPath) {
			t.Errorf("%s is linked into the browser build", p.ImportPath)
		}
		if !strings.HasPrefix(p.ImportPath, module) {
			continue
		}
		checked++
		for _, name := range p.GoFiles {
			os.Stat(filepath.Join(p.Dir, name)) // makes go test's cached result depend on the file
		}
		for _, path := range p.Imports {
			if !strings.HasPrefix(path, module) && !slices.Contains(ours, path) {
				t.Errorf("%s imports %s", p.ImportPath, path)
			}
		}
	}
	if checked != 3 {
		t.Errorf("checked %d of our packages, want sse, wasm/lifecycle and wasm/polyfill", checked)
	}
}
