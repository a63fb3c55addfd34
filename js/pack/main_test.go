package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

// site makes a folder with the package's real manifest and other files that dist/ may contain.
func site(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	manifest, err := os.ReadFile("../package.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"package.json": string(manifest), "README.md": "# r", "LICENSE": "MIT", "index.d.ts": "types",
		"polyfill.mjs": "js", "polyfill.d.ts": "types", "inline.mjs": "js", "inline-polyfill.mjs": "js", "eventsource.cjs": "js", "eventsource.js": "js", "eventsource.mjs": "mjs", "eventsource.wasm": "wasm", "eventsource.wasm.br": "br",
		".build": "not for the package", "bench.json": "nor this",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// unpacked returns the files of a tarball.
func unpacked(t *testing.T, tarball string) map[string]string {
	t.Helper()
	file, err := os.Open(tarball)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	uncompressed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(uncompressed); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Mode != 0o644 {
			t.Errorf("%s has the mode %o", header.Name, header.Mode)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, "package/")] = string(content)
	}
}

func TestPack(t *testing.T) {
	folder := site(t)
	tarball, err := pack(folder, filepath.Join(folder, "release"))
	if err != nil {
		t.Fatal(err)
	}
	if base := filepath.Base(tarball); !strings.HasPrefix(base, "eventsource-wasm-") || !strings.HasSuffix(base, ".tgz") {
		t.Errorf("made %s", base)
	}
	files := unpacked(t, tarball)
	want := []string{"LICENSE", "README.md", "eventsource.cjs", "eventsource.js", "eventsource.mjs", "eventsource.wasm", "eventsource.wasm.br",
		"index.d.ts", "inline-polyfill.mjs", "inline.mjs", "package.json", "polyfill.d.ts", "polyfill.mjs"}
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Errorf("packed %v, want %v", got, want)
	}
	if files["eventsource.wasm"] != "wasm" {
		t.Errorf("got %q", files["eventsource.wasm"])
	}
	first, err := os.ReadFile(tarball)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pack(folder, filepath.Join(folder, "release")); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(tarball); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same files gave another tarball, %v", err)
	}
}

// If npm is installed, the test compares with what it would pack.
func TestPackAsNpm(t *testing.T) {
	nodetest.Require(t)
	folder := site(t)
	cmd := exec.Command("npm", "pack", "--dry-run", "--json", "--offline", "--ignore-scripts")
	cmd.Dir = folder
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("npm pack: %v", err)
	}
	var packed []struct {
		Filename string
		Files    []struct{ Path string }
	}
	if err := json.Unmarshal(output, &packed); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	var want []string
	for _, file := range packed[0].Files {
		want = append(want, file.Path)
	}
	slices.Sort(want)
	tarball, err := pack(folder, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(unpacked(t, tarball))); !slices.Equal(got, want) || filepath.Base(tarball) != packed[0].Filename {
		t.Errorf("%s has %v, npm's %s has %v", filepath.Base(tarball), got, packed[0].Filename, want)
	}
}

func TestPackRefuses(t *testing.T) {
	for name, remove := range map[string]string{"no package": "package.json", "no module": "index.d.ts"} {
		folder := site(t)
		if err := os.Remove(filepath.Join(folder, remove)); err != nil {
			t.Fatal(err)
		}
		if _, err := pack(folder, t.TempDir()); err == nil || !strings.Contains(err.Error(), "make build") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
