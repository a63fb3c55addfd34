package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/eventsource-wasm/eventsource-wasm/internal/nodetest"
)

func TestLayoutOf(t *testing.T) {
	for goVersion, want := range map[string]string{
		"go1.26": "go1.26", "go1.26.0": "go1.26", "go1.26.8": "go1.26", "go1.26rc1": "go1.26", "go1.26.8 X:nogreenteagc": "go1.26",
		"go1.27.4": "go1.27", "go1.27.4-vendor": "go1.27",
		"go1.25.9": "", "go1.28.0": "", "go1.260": "", "devel go1.28-0123456789": "", "": "",
	} {
		if got := layoutOf(goVersion); got != layouts[want] {
			t.Errorf("%q has the layout %v, want that of %q", goVersion, got, want)
		}
	}
}

func TestSupported(t *testing.T) {
	for name, l := range layouts {
		if err := (toolchain{version: name, layout: l}).supported(); err != nil {
			t.Error(err)
		}
	}
	err := toolchain{version: "go1.99.1"}.supported()
	if !errors.Is(err, errUnsupportedGo) || err.Error() != "unsupported Go version go1.99.1 (supported: go1.26 and go1.27)" {
		t.Error(err)
	}
}

func TestReplaceBody(t *testing.T) {
	const source = "package p\n\nfunc (t T) F() int { return 1 }\n\nfunc F(x int) int {\n\tif x > 0 {\n\t\treturn 2\n\t}\n\treturn 3\n}\n\nfunc G() {}\n"
	const want = "package p\n\nfunc (t T) F() int { return 1 }\n\nfunc F(x int) int {\n\treturn 4\n}\n\nfunc G() {}\n"
	if got, err := replaceBody([]byte(source), "F", "return 4"); err != nil || string(got) != want {
		t.Errorf("replaceBody = %v,\n%s\nwant\n%s", err, got, want)
	}
	for name, source := range map[string]string{"no such function": "package p\n\nfunc (t T) F() {}\n", "no Go": "func"} {
		if got, err := replaceBody([]byte(source), "F", "return 4"); err == nil {
			t.Errorf("%s: no error, but\n%s", name, got)
		}
	}
}

// With an unknown Go version, the build prints one message and does not reduce the size. The module works.
func TestUnknownToolchain(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the module: run it with make test")
	}
	b := buildWith(t, "PATH="+goOfVersion(t, "go1.99.0")+string(os.PathListSeparator)+os.Getenv("PATH"))
	if n := strings.Count(b.output, "size reduction of eventsource.wasm skipped: unsupported Go version go1.99.0"); n != 1 {
		t.Errorf("the message was printed %d times, want once:\n%s", n, b.output)
	}
	if n := strings.Count(b.output, "build: "); n != 1 {
		t.Errorf("%d messages:\n%s", n, b.output)
	}
	if b.state != plain {
		t.Errorf("the module's state is %q", b.state)
	}
	b.start(t)
}

// goOfVersion returns a folder with a command go that reports another version.
func goOfVersion(t *testing.T, claimed string) (folder string) {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
case "$*" in
"env -json GOVERSION GOROOT") %[1]q "$@" | sed 's/"GOVERSION": *"[^"]*"/"GOVERSION": "%[2]s"/' ;;
*) exec %[1]q "$@" ;;
esac
`, real, claimed)
	if err := os.WriteFile(filepath.Join(folder, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

var toolchains = flag.String("toolchains", "", "build the module with these `versions` of Go, separated by commas")

// largest is the maximum size of a reduced module after brotli, in bytes.
const largest = 325_000

// TestToolchains builds the module with the installed Go version and with those in the flag, which Go downloads.
func TestToolchains(t *testing.T) {
	if *toolchains == "" {
		t.Skip("make toolchains runs this: it fetches toolchains and compiles the standard library with each")
	}
	for _, name := range append([]string{"local"}, strings.Split(*toolchains, ",")...) {
		t.Run(name, func(t *testing.T) {
			b := buildWith(t, "GOTOOLCHAIN="+name)
			t.Logf("%d bytes", b.size)
			if b.state != reduced || b.size > largest || strings.Contains(b.output, "build: ") {
				t.Errorf("%s, %d bytes of brotli:\n%s", b.state, b.size, b.output)
			}
			b.start(t)
		})
	}
}

// A built is the result of building a copy of the sources.
type built struct {
	project string
	output  string // of the build
	state   string // of the module
	size    int64  // of the module, in bytes of brotli
}

// buildWith builds dist/ with additional environment variables.
func buildWith(t *testing.T, env ...string) built {
	t.Helper()
	project := copyProject(t)
	cmd := exec.CommandContext(t.Context(), compileBuild(t))
	cmd.Dir = project
	cmd.Env = append(os.Environ(), env...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	state, err := os.ReadFile(filepath.Join(project, dist, moduleState))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(project, dist, module+".br"))
	if err != nil {
		t.Fatal(err)
	}
	return built{project, string(output), string(state), info.Size()}
}

func copyProject(t *testing.T) (project string) {
	t.Helper()
	project = t.TempDir()
	for _, folder := range []string{"sse", "wasm", "js"} {
		if err := os.CopyFS(filepath.Join(project, folder), os.DirFS(filepath.Join("../..", folder))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "README.md", "LICENSE"} {
		content, err := os.ReadFile(filepath.Join("../..", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(project, name), content, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return project
}

func compileBuild(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "build")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return program
}

// start makes Node.js start the module and parse an event.
func (b built) start(t *testing.T) {
	t.Helper()
	nodetest.Require(t)
	script, err := filepath.Abs("testdata/start.mjs")
	if err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), "node", script, filepath.Join(b.project, dist)).CombinedOutput()
	if err != nil || string(output) != "hello\n" {
		t.Errorf("%v\n%s", err, output)
	}
}
