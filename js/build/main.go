// Command build makes dist/, the npm package, from wasm/ and js/. Run it in the project's root. It needs only Go. It does
// nothing if dist/ was made from the same sources by the same Go version.
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
	stamp  = ".build" // a file in dist with the hash of the sources

	// moduleState is a file in dist that says whether the size of the module was reduced.
	moduleState    = ".module"
	reduced, plain = "reduced", "plain"
)

// debug keeps the names of functions, so that a panic's report says where it happened.
var debug = os.Getenv("DEBUG")

// copies has the files that are copied to dist unchanged, and their sources.
var copies = map[string]string{
	"index.d.ts":    "js/index.d.ts",
	"polyfill.mjs":  "js/polyfill.mjs",
	"polyfill.d.ts": "js/polyfill.d.ts",
	"package.json":  "js/package.json",
	"README.md":     "js/README.md",
	"LICENSE":       "LICENSE",
}

// compressed has the files that servers can send compressed.
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

// complete reports whether dist has all files of the earlier build.
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

// hashSources returns a hash of the sources. The script and the module contain it, so that a page can report that they do not
// match.
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

// clean removes the files of an earlier build, and leaves other files in dist.
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

// compileModule makes the module as small as possible after brotli. These do not help: without inlining, more functions take
// more space than inlining does; wasm-opt removes only what brotli compresses anyway. Without bounds checks the module would be
// 10 kB smaller, but it parses data from a network.
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
	if err := os.Chmod(filepath.Join(dist, module), 0o644); err != nil { // Go makes it executable, but it is only served
		return err
	}
	return os.WriteFile(filepath.Join(dist, moduleState), []byte(state), 0o644)
}

// compileSmall makes a module without the parts of Go that the browser build does not need, or returns an error.
func compileSmall(tools toolchain, args []string) error {
	if err := tools.supported(); err != nil {
		return err
	}
	if debug != "" {
		return errors.New("DEBUG is set, which keeps the names of functions")
	}
	if err := tools.buildSmall(args...); err != nil {
		return fmt.Errorf("replacing parts of the standard library: %w", err)
	}
	return shrink(func(segments []segment) error { return emptySymbols(segments, tools.layout) })
}

// shrink merges the module's data segments after applying edit to them. If it fails, the module stays unchanged.
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
			MangleProps:       "^_",                                 // only wasm_exec.js has such properties
			ReserveProps:      "^(_pendingEvent|_makeFuncWrapper)$", // package syscall/js uses these
			Sourcemap:         api.SourceMapLinked,
			Define:            map[string]string{"__BUILD__": `"` + build + `"`},
			Plugins:           []api.Plugin{support},
			External:          []string{"./eventsource.assets.mjs"}, // contains the module and the worker's script
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

// The script calls fs once without naming the global object.
const globalFS = `const fs = { writeSync: (fd, bytes) => globalThis.fs.writeSync(fd, bytes) };
`

// goSupport resolves wasm_exec.js of the Go version that compiles the module. The script reads and extends the global object. It
// becomes the body of a function with a parameter of that name, so that it extends the argument instead.
func goSupport() (api.Plugin, error) {
	tools, err := findToolchain()
	if err != nil {
		return api.Plugin{}, err
	}
	path := filepath.Join(tools.root, "lib", "wasm", "wasm_exec.js")
	script, err := os.ReadFile(path)
	if err != nil {
		return api.Plugin{}, fmt.Errorf("reading wasm_exec.js of this Go: %w", err)
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

// supportFunction matches a function of wasm_exec.js that modules can import.
var supportFunction = regexp.MustCompile(`(?m)^\t{5}"(syscall/js\.\w+)": \(sp\) => \{\n(?:.*\n)*?\t{5}\},\n`)

// edits remove parts of the script that this module does not need. If another version of Go has other text there, the edit is
// skipped: an edit with two parts is made only if both are found.
var edits = []struct {
	unless string // skip the edit if the module contains this string
	parts  [][2]string
}{
	// Stand-ins for parts of Node.js, which package syscall looks up when it is initialized. The runtime needs one function,
	// to report a panic.
	{"O_WRONLY", [][2]string{{`\tconst enosys = (?s:.*?)\n(\tconst encoder = )`, `	let printed = "";
	const fs = {
		writeSync(fd, bytes) {
			const lines = (printed + decoder.decode(bytes)).split("\n");
			printed = lines.pop();
			if (lines.length > 0) console.log(lines.join("\n"));
		},
	};

$1`}}},
	// Go functions that JavaScript calls.
	{"_makeFuncWrapper", [][2]string{{`\n\t\t_makeFuncWrapper\(id\) \{\n(?s:.*?)\n\t\t\}\n`, ""}}},
	// Only Go's tests use this.
	{"", [][2]string{{`\t{3}const testCallExport = (?s:.*?)\n\t{3}\}\n`, ""}, {`\t{4}_gotest: \{\n(?s:.*?)\n\t{4}\},\n`, ""}}},
	{"", [][2]string{{`\t{5}"debug": (?s:.*?)\n\t{5}\},\n`, ""}}},
	// Arguments and environment. The memory at 4096 holds zeros, which means that both are empty.
	{"", [][2]string{
		{`\t{3}// Pass command line arguments (?s:.*?)(\t{3}this\._inst\.exports\.run\()argc, argv\)`, "${1}0, 4096)"},
		{`\t{3}this\.argv = .*\n`, ""},
		{`\t{3}this\.env = .*\n`, ""},
	}},
	// A promise that resolves at the program's end.
	{"", [][2]string{
		{`\t{3}this\._exitPromise = .*\n.*\n\t{3}\}\);\n`, ""},
		{`\t{3}if \(this\.exited\) \{\n\t{4}this\._resolveExitPromise\(\);\n\t{3}\}\n`, ""},
		{`\t{3}await this\._exitPromise;\n`, ""},
	}},
	{"", [][2]string{{`\t{3}if \(!\(instance instanceof [\w.]+\)\) \{\n.*\n\t{3}\}\n`, ""}}},
	// A console message when a timer fires early or after the program has ended.
	{"", [][2]string{{`\t+console\.warn\("scheduleTimeoutEvent: missed timeout event"\);\n`, ""}}},
	{"", [][2]string{{`throw new Error\("Go program has already exited"\)`, "return"}}},
}

// withoutUnused returns the script without the functions whose names the module does not contain, and with edits applied. An
// unused function does no harm, but without a function that the module imports, it cannot be instantiated.
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

// replaceAll returns the script with all parts replaced, or unchanged if one of them is not found.
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

// compress writes compressed variants, which a server can send without compressing them again.
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
