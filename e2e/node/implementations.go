package main

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// An implementation is a class that run.js loads, and the runtime that runs it.
type implementation struct {
	id      string // in -of
	Name    string `json:"name"`
	URL     string `json:"-"`
	Own     bool   `json:"own,omitempty"`    // ours, with rows in differences.json and its own scenarios
	Module  string `json:"module,omitempty"` // the file that exports EventSource; empty for the runtime's own
	Go      string `json:"go,omitempty"`     // the file that makes every source of ours run on Go
	Client  string `json:"client,omitempty"` // the Go client behind the class
	Program string `json:"program,omitempty"`

	note    string // how it is used
	pkg     string // the npm package or Go module whose version is shown, if not the runtime's
	runtime runtime
}

// A runtime is a command that runs run.js.
type runtime struct {
	name, command string
	flags         []string
}

var (
	node = runtime{name: "Node", command: "node"}
	deno = runtime{name: "Deno", command: "deno", flags: []string{"run", "--allow-all"}}
	bun  = runtime{name: "Bun", command: "bun"}
)

const (
	repository = "https://github.com/eventsource-wasm/eventsource-wasm"
	script     = "dist/eventsource.mjs"
	testScript = "dist/test/eventsource.mjs" // the test build
	module     = "dist/eventsource.wasm"
	goclients  = "dist/tools/goclients" // built from e2e/node/goclients
)

// tools is where npm installs what package.json lists.
const tools = "dist/tools/runtimes"

var implementations = []implementation{
	{
		id: "ours", Name: "eventsource-wasm", URL: repository, note: "as a program imports it, on its JavaScript engine",
		Own: true, Module: script, runtime: node,
	},
	{
		id: "ours-go", Name: "eventsource-wasm on Go", URL: repository, note: "on Go from the first input",
		Own: true, Module: testScript, Go: module, runtime: node,
	},
	{id: "ours-deno", Name: "eventsource-wasm", URL: repository, Own: true, Module: script, runtime: deno},
	{id: "ours-bun", Name: "eventsource-wasm", URL: repository, Own: true, Module: script, runtime: bun},
	{
		id: "eventsource", Name: "eventsource", URL: "https://github.com/EventSource/eventsource",
		pkg: "eventsource", Module: tools + "/node_modules/eventsource/dist/index.js", runtime: node,
	},
	{
		id: "undici", Name: "undici", URL: "https://github.com/nodejs/undici", note: "after install(), which makes its classes the globals",
		pkg: "undici", Module: tools + "/node_modules/undici/index.js", runtime: node,
	},
	{
		id: "node", Name: "Node's own", URL: "https://nodejs.org/api/globals.html#class-eventsource", note: "with --experimental-eventsource",
		runtime: runtime{name: "Node", command: "node", flags: []string{"--experimental-eventsource"}},
	},
	{id: "deno", Name: "Deno's own", URL: "https://docs.deno.com/api/web/~/EventSource", runtime: deno},
	goClient("go-ours", "eventsource-wasm for Go", "", ""),
	goClient("r3labs", "r3labs/sse", "github.com/r3labs/sse/v2", "does not reconnect when the server ends the stream"),
	goClient("tmaxmax", "tmaxmax/go-sse", "github.com/tmaxmax/go-sse", ""),
	goClient("launchdarkly", "launchdarkly/eventsource", "github.com/launchdarkly/eventsource", "its error handler gives up after an HTTP error"),
}

// goClient returns the client of a Go module, or ours.
func goClient(id, name, path, note string) implementation {
	url := "https://pkg.go.dev/" + cmp.Or(path, "github.com/eventsource-wasm/eventsource-wasm/wasm/eventsource")
	return implementation{
		id: id, Name: name, URL: url, note: note, pkg: path, Client: strings.TrimPrefix(id, "go-"), Program: goclients, runtime: node,
	}
}

// ids lists the implementations for the help of -of.
func ids() string {
	var all []string
	for _, i := range implementations {
		all = append(all, i.id)
	}
	return strings.Join(all, ",")
}

// find returns the implementations with these ids, separated by commas.
func find(of string) ([]implementation, error) {
	var found []implementation
	for id := range strings.SplitSeq(of, ",") {
		i := slices.IndexFunc(implementations, func(i implementation) bool { return i.id == id })
		if i < 0 {
			return nil, fmt.Errorf("unknown implementation %q: use %s", id, ids())
		}
		found = append(found, implementations[i])
	}
	return found, nil
}

// in returns the implementation with the paths of its files, in the module at root.
func (i implementation) in(root string) implementation {
	for _, path := range []*string{&i.Module, &i.Go, &i.Program} {
		if *path != "" {
			*path = filepath.Join(root, filepath.FromSlash(*path))
		}
	}
	return i
}

// installed returns the implementation with the runtime that npm has installed.
func (i implementation) installed(root string) implementation {
	bin := filepath.Join(root, filepath.FromSlash(tools), "node_modules")
	switch i.runtime.command {
	case "node":
		i.runtime.command = filepath.Join(bin, "node", "bin", "node")
	default:
		i.runtime.command = filepath.Join(bin, ".bin", i.runtime.command)
	}
	return i
}

// run returns the command that runs run.js with an argument.
func (r runtime) run(ctx context.Context, root, argument string) *exec.Cmd {
	arguments := slices.Concat(r.flags, []string{filepath.Join(root, "e2e", "node", "run.js"), argument})
	return exec.CommandContext(ctx, r.command, arguments...)
}

// versions returns the implementation's version and the runtime's name with its version.
func (i implementation) versions(ctx context.Context, root string) (own, runtime string, err error) {
	if i.Client != "" {
		return i.goVersions(root)
	}
	output, err := exec.CommandContext(ctx, i.runtime.command, "--version").Output()
	if err != nil {
		return "", "", fmt.Errorf("asking %s for its version: %w", i.runtime.name, err)
	}
	version := regexp.MustCompile(`\d+(\.\d+)+`).FindString(string(output))
	switch own = version; {
	case i.Own:
		own, err = readVersion(filepath.Join(root, "dist", "package.json"))
	case i.pkg != "":
		own, err = readVersion(filepath.Join(root, filepath.FromSlash(tools), "node_modules", i.pkg, "package.json"))
	}
	return own, i.runtime.name + " " + version, err
}

// goVersions reads the versions that the program was built with.
func (i implementation) goVersions(root string) (own, runtime string, err error) {
	built, err := buildinfo.ReadFile(i.Program)
	if err != nil {
		return "", "", err
	}
	runtime = "Go " + strings.TrimPrefix(built.GoVersion, "go")
	for _, m := range built.Deps {
		if m.Path == i.pkg {
			return strings.TrimPrefix(m.Version, "v"), runtime, nil
		}
	}
	own, err = readVersion(filepath.Join(root, "dist", "package.json"))
	return own, runtime, err
}

func readVersion(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var manifest struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return cmp.Or(manifest.Version, "unknown"), nil
}

// install installs the packages of package.json with npm, unless they are installed.
func install(ctx context.Context, root string) error {
	source, folder := filepath.Join(root, "e2e", "node"), filepath.Join(root, filepath.FromSlash(tools))
	lock, err := os.ReadFile(filepath.Join(source, "package-lock.json"))
	if err != nil {
		return err
	}
	done := filepath.Join(folder, ".installed") // a copy of the installed lock file
	if installed, err := os.ReadFile(done); err == nil && string(installed) == string(lock) {
		return nil
	}
	if os.Getenv("INSTALL") == "no" {
		return fmt.Errorf("the runtimes and libraries of e2e/node/package.json are not installed in %s: run again without INSTALL=no", tools)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(source, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	// Their install scripts fetch the runtimes' binaries.
	command := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund")
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("installing the runtimes and libraries of e2e/node/package.json: %w\n%s", err, output)
	}
	return os.WriteFile(done, lock, 0o644)
}

// prepare installs and builds what the implementations need.
func prepare(ctx context.Context, root string, chosen []implementation) error {
	if err := install(ctx, root); err != nil {
		return err
	}
	if !slices.ContainsFunc(chosen, func(i implementation) bool { return i.Client != "" }) {
		return nil
	}
	build := exec.CommandContext(ctx, "go", "build", "-mod=mod", "-o", filepath.Join(root, filepath.FromSlash(goclients)), ".")
	build.Dir = filepath.Join(root, "e2e", "node", "goclients")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building e2e/node/goclients: %w\n%s", err, output)
	}
	return nil
}
