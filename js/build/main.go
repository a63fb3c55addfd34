// Command build makes dist/, the npm package, from wasm/ and js/. Run it from the project's root: it needs Go and
// nothing else. It does nothing when dist/ is already made from the same sources by the same Go.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/evanw/esbuild/pkg/api"
)

const (
	dist   = "dist"
	module = "eventsource.wasm"
	stamp  = ".build" // in dist, what it was made from

	// moduleState is a file in dist that says whether the module is as small as it can be.
	moduleState    = ".module"
	reduced, plain = "reduced", "plain"
)

// debug is set by those who want to read in a panic's report where it happened.
var debug = os.Getenv("DEBUG")

// What goes into dist as it is, and from where.
var copies = map[string]string{
	"index.d.ts":    "js/index.d.ts",
	"polyfill.mjs":  "js/polyfill.mjs",
	"polyfill.d.ts": "js/polyfill.d.ts",
	"package.json":  "js/package.json",
	"README.md":     "js/README.md",
	"LICENSE":       "LICENSE",
}

// What a server can send compressed.
var compressed = []string{module, "eventsource.js", "eventsource.mjs", "eventsource.worker.js"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("build: ")
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() error {
	build, err := hashSources("go.mod", "go.sum", "LICENSE", "sse", "wasm", "js")
	if err != nil {
		return fmt.Errorf("reading the sources (is this the project's root?): %w", err)
	}
	if made, err := os.ReadFile(filepath.Join(dist, stamp)); err == nil && string(made) == build && complete() {
		return nil
	}
	if err := clean(); err != nil {
		return err
	}
	for _, step := range []func(string) error{compileModule, bundleScripts, deriveFiles, copyFiles, compress} {
		if err := step(build); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dist, stamp), []byte(build), 0o644)
}

// complete reports whether dist has everything that an earlier build has put there.
func complete() bool {
	others := slices.Concat(slices.Collect(maps.Keys(copies)), slices.Collect(maps.Keys(derived)), slices.Collect(maps.Keys(declarations)),
		[]string{"inline.mjs", "eventsource.cjs", "polyfill.cjs", "eventsource.assets.mjs", moduleState})
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(dist, name)); err != nil {
			return false
		}
	}
	for _, name := range compressed {
		for _, variant := range []string{"", ".br", ".gz"} {
			if _, err := os.Stat(filepath.Join(dist, name+variant)); err != nil {
				return false
			}
		}
	}
	return true
}

// hashSources returns what tells one version of the sources from another. The script and the module carry it, so that a
// page which has been served files of two versions says so.
func hashSources(roots ...string) (string, error) {
	hash := sha256.New()
	io.WriteString(hash, runtime.Version()+debug)
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			content, err := os.ReadFile(path)
			fmt.Fprintf(hash, "%s %d\n%s", filepath.ToSlash(path), len(content), content)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(hash.Sum(nil)[:6]), nil
}

// clean removes what an earlier build made, and leaves what others have put into dist.
func clean() error {
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dist, "eventsource.*"))
	for _, path := range append(old, filepath.Join(dist, stamp)) {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// compileModule has Go compile as little as possible. What does not help, in bytes of brotli: without inlining there are
// more functions, and their code is larger than what is saved; wasm-opt finds what brotli finds; and without bounds checks
// the module would be 10 kB smaller, but it has to meet what comes from a network.
func compileModule(build string) error {
	tools, err := findToolchain()
	if err != nil {
		return err
	}
	args := []string{"-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.build=" + build, "-o", filepath.Join(dist, module), "./wasm/polyfill"}
	state := reduced
	if err := compileSmall(tools, args); err != nil {
		log.Printf("size reduction of %s skipped: %v. Everything works; the module is about 140 kB larger after compression.", module, err)
		state = plain
		if err := tools.build(args...); err != nil {
			return fmt.Errorf("compiling wasm/polyfill: %w", err)
		}
		if err := shrink(func([]segment) error { return nil }); err != nil {
			log.Printf("%s keeps its data segments: %v", module, err)
		}
	}
	if err := os.Chmod(filepath.Join(dist, module), 0o644); err != nil { // it is served, not executed
		return err
	}
	return os.WriteFile(filepath.Join(dist, moduleState), []byte(state), 0o644)
}

// compileSmall leaves a module without what the browser build does not need, or fails.
func compileSmall(tools toolchain, args []string) error {
	if err := tools.supported(); err != nil {
		return err
	}
	if debug != "" {
		return errors.New("DEBUG is set, so that a panic's report keeps its names")
	}
	if err := tools.buildSmall(args...); err != nil {
		return fmt.Errorf("replacing parts of the standard library: %w", err)
	}
	return shrink(func(segments []segment) error { return emptySymbols(segments, tools.layout) })
}

// shrink merges the module's data segments after an edit of them. If it fails, the module stays as it is.
func shrink(edit func([]segment) error) error {
	path := filepath.Join(dist, module)
	linked, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	smaller, err := mergeSegments(linked, edit)
	if err != nil {
		return err
	}
	return os.WriteFile(path, smaller, 0o644)
}

func bundleScripts(build string) error {
	support, err := goSupport()
	if err != nil {
		return err
	}
	for _, script := range []struct {
		entry, output string
		format        api.Format
	}{
		{"js/classic.js", "eventsource.js", api.FormatIIFE},
		{"js/module.js", "eventsource.mjs", api.FormatESModule},
		{"js/inline.js", "inline.mjs", api.FormatESModule},
		{"js/common.js", "eventsource.cjs", api.FormatCommonJS},
		{"js/worker.js", "eventsource.worker.js", api.FormatIIFE},
		{"js/testing.js", "test/eventsource.mjs", api.FormatESModule},
	} {
		result := api.Build(api.BuildOptions{
			EntryPoints:       []string{script.entry},
			Outfile:           filepath.Join(dist, script.output),
			Format:            script.format,
			Bundle:            true,
			Write:             true,
			MinifyWhitespace:  true,
			MinifyIdentifiers: true,
			MinifySyntax:      true,
			Target:            api.ES2022,
			Charset:           api.CharsetUTF8,
			MangleProps:       "^_",                                 // wasm_exec.js has such properties, and js/ has none
			ReserveProps:      "^(_pendingEvent|_makeFuncWrapper)$", // package syscall/js asks for these
			Sourcemap:         api.SourceMapLinked,
			Define:            map[string]string{"__BUILD__": `"` + build + `"`},
			Plugins:           []api.Plugin{support},
			External:          []string{"./eventsource.assets.mjs"}, // made of the module and the worker's script
			LogLevel:          api.LogLevelWarning,
		})
		if len(result.Errors) > 0 {
			return fmt.Errorf("bundling %s failed", script.entry)
		}
	}
	return nil
}

const supportModule = `export default function (globalThis) {
	%s
	return globalThis.Go;
}`

// In one place the script calls fs without naming the global object.
const globalFS = `const fs = { writeSync: (fd, bytes) => globalThis.fs.writeSync(fd, bytes) };
`

// goSupport resolves wasm_exec.js, which belongs to the Go that compiles the module. It is written for a global object
// that it reads and extends; as the body of a function whose parameter has that name it extends what it is given.
func goSupport() (api.Plugin, error) {
	tools, err := findToolchain()
	if err != nil {
		return api.Plugin{}, err
	}
	path := filepath.Join(tools.root, "lib", "wasm", "wasm_exec.js")
	script, err := os.ReadFile(path)
	if err != nil {
		return api.Plugin{}, fmt.Errorf("reading wasm_exec.js, which belongs to Go: %w", err)
	}
	linked, err := os.ReadFile(filepath.Join(dist, module))
	if err != nil {
		return api.Plugin{}, err
	}
	script = withoutUnused(script, linked)
	if !bytes.Contains(script, []byte("const fs = ")) {
		script = append([]byte(globalFS), script...)
	}
	contents := fmt.Sprintf(supportModule, script)
	return api.Plugin{Name: "wasm_exec", Setup: func(build api.PluginBuild) {
		build.OnResolve(api.OnResolveOptions{Filter: `^wasm_exec\.js$`}, func(api.OnResolveArgs) (api.OnResolveResult, error) {
			return api.OnResolveResult{Path: "wasm_exec.js", Namespace: "go"}, nil
		})
		build.OnLoad(api.OnLoadOptions{Filter: ".*", Namespace: "go"}, func(api.OnLoadArgs) (api.OnLoadResult, error) {
			return api.OnLoadResult{Contents: &contents, Loader: api.LoaderJS}, nil
		})
	}}, nil
}

// supportFunction is one of those that wasm_exec.js has for a module to import.
var supportFunction = regexp.MustCompile(`(?m)^\t{5}"(syscall/js\.\w+)": \(sp\) => \{\n(?:.*\n)*?\t{5}\},\n`)

// edits take from the script what only other programs need. What is written in another way in another Go is left as it is:
// of an edit with two parts, both are found or none is made.
var edits = []struct {
	unless string // the module has this string
	parts  [][2]string
}{
	// What stands in for the parts of Node.js that package syscall asks for when it is initialized. The runtime needs one
	// function, to report a panic.
	{"O_WRONLY", [][2]string{{`\tconst enosys = (?s:.*?)\n(\tconst encoder = )`, `	let printed = "";
	const fs = {
		writeSync(fd, bytes) {
			const lines = (printed + decoder.decode(bytes)).split("\n");
			printed = lines.pop();
			if (lines.length > 0) console.log(lines.join("\n"));
		},
	};

$1`}}},
	// Functions of Go's that JavaScript calls.
	{"_makeFuncWrapper", [][2]string{{`\n\t\t_makeFuncWrapper\(id\) \{\n(?s:.*?)\n\t\t\}\n`, ""}}},
	// Go's own tests.
	{"", [][2]string{{`\t{3}const testCallExport = (?s:.*?)\n\t{3}\}\n`, ""}, {`\t{4}_gotest: \{\n(?s:.*?)\n\t{4}\},\n`, ""}}},
	{"", [][2]string{{`\t{5}"debug": (?s:.*?)\n\t{5}\},\n`, ""}}},
	// Arguments and an environment. The memory at 4096 holds zeros: there are none.
	{"", [][2]string{
		{`\t{3}// Pass command line arguments (?s:.*?)(\t{3}this\._inst\.exports\.run\()argc, argv\)`, "${1}0, 4096)"},
		{`\t{3}this\.argv = .*\n`, ""},
		{`\t{3}this\.env = .*\n`, ""},
	}},
	// A promise of the program's end.
	{"", [][2]string{
		{`\t{3}this\._exitPromise = .*\n.*\n\t{3}\}\);\n`, ""},
		{`\t{3}if \(this\.exited\) \{\n\t{4}this\._resolveExitPromise\(\);\n\t{3}\}\n`, ""},
		{`\t{3}await this\._exitPromise;\n`, ""},
	}},
	{"", [][2]string{{`\t{3}if \(!\(instance instanceof [\w.]+\)\) \{\n.*\n\t{3}\}\n`, ""}}},
	// That a timer fires early, or after the program has ended, is not for the page's console.
	{"", [][2]string{{`\t+console\.warn\("scheduleTimeoutEvent: missed timeout event"\);\n`, ""}}},
	{"", [][2]string{{`throw new Error\("Go program has already exited"\)`, "return"}}},
}

// withoutUnused returns the script without the functions whose names the module does not have, and without what edits take.
// One function too many does no harm; without one that it imports, no module would be instantiated.
func withoutUnused(script, linked []byte) []byte {
	script = supportFunction.ReplaceAllFunc(script, func(function []byte) []byte {
		if bytes.Contains(linked, supportFunction.FindSubmatch(function)[1]) {
			return function
		}
		return nil
	})
	for _, edit := range edits {
		if edit.unless == "" || !bytes.Contains(linked, []byte(edit.unless)) {
			script = replaceAll(script, edit.parts)
		}
	}
	return script
}

// replaceAll returns the script with all parts replaced, or as it is if one of them is not found.
func replaceAll(script []byte, parts [][2]string) []byte {
	edited := script
	for _, part := range parts {
		pattern := regexp.MustCompile(part[0])
		if !pattern.Match(edited) {
			return script
		}
		edited = pattern.ReplaceAll(edited, []byte(part[1]))
	}
	return edited
}

func copyFiles(string) error {
	for name, source := range copies {
		content, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dist, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// compress writes the variants that a server can send as they are.
func compress(string) error {
	for _, name := range compressed {
		path := filepath.Join(dist, name)
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var br, gz bytes.Buffer
		if err := writeAll(brotli.NewWriterLevel(&br, brotli.BestCompression), content); err != nil {
			return err
		}
		gzipWriter, err := gzip.NewWriterLevel(&gz, gzip.BestCompression)
		if err != nil {
			return err
		}
		if err := writeAll(gzipWriter, content); err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(path+".br", br.Bytes(), 0o644), os.WriteFile(path+".gz", gz.Bytes(), 0o644)); err != nil {
			return err
		}
		fmt.Printf("%-28s %9d bytes, gzip %8d, brotli %8d\n", path, len(content), gz.Len(), br.Len())
	}
	return nil
}

func writeAll(w io.WriteCloser, content []byte) error {
	_, err := w.Write(content)
	return errors.Join(err, w.Close())
}
