// Command build makes dist/, the npm package, from wasm/ and js/. Run it from the project's root: it needs Go and
// nothing else. It does nothing when dist/ is already made from the same sources by the same Go.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"os"
	"os/exec"
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
		[]string{"inline.mjs", "eventsource.cjs", "polyfill.cjs", "eventsource.assets.mjs"})
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

// compileModule has Go compile as little as that can be had to. What does not help, in bytes of brotli: without inlining
// there are more functions, and their code is larger than what is saved; wasm-opt finds what brotli finds; and without
// bounds checks 10 kB less would be loaded, but what comes from a network has to meet them.
func compileModule(build string) error {
	replacements, err := overlay()
	if err != nil {
		return fmt.Errorf("replacing parts of the standard library: %w", err)
	}
	defer os.Remove(replacements)
	if err := goBuild(build, "-overlay", replacements); err != nil {
		log.Printf("%s is larger than it could be: this Go has another standard library than the one that ours replaces parts of", module)
		if err := goBuild(build); err != nil {
			return fmt.Errorf("compiling wasm/polyfill: %w", err)
		}
	}
	return shrinkModule()
}

func goBuild(build string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.build="+build, "-o", filepath.Join(dist, module), "./wasm/polyfill")...)
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if isKnown, _ := knownGo(); isKnown {
		// Green Tea is for many processors, and larger than the garbage collector before it.
		cmd.Env = append(cmd.Env, "GOEXPERIMENT=nogreenteagc")
	}
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// shrinkModule makes the module smaller, as far as it is understood: any error in that is a reason to ship more of it.
func shrinkModule() error {
	path := filepath.Join(dist, module)
	linked, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, edit := range []func([]segment) error{withoutSymbols, withSymbols} {
		smaller, err := mergeSegments(linked, edit)
		if err == nil {
			linked = smaller
			break
		}
		log.Printf("%s is larger than it could be: %v", path, err)
	}
	if err := os.WriteFile(path, linked, 0o644); err != nil {
		return err
	}
	return os.Chmod(path, 0o644) // it is served, not executed
}

func withSymbols([]segment) error { return nil }

func withoutSymbols(segments []segment) error {
	if isKnown, version := knownGo(); !isKnown {
		return fmt.Errorf("%w: they are those of %s, and this is %s", errUnknownLayout, symbolsKnownFor, version)
	}
	if debug != "" {
		return errors.New("with DEBUG set it keeps the names that a panic reports")
	}
	return emptySymbols(segments)
}

// knownGo reports whether the Go that compiles is one whose layout and experiments are known, and its version.
func knownGo() (bool, string) {
	output, err := exec.Command("go", "env", "GOVERSION").Output()
	version := string(bytes.TrimSpace(output))
	return err == nil && strings.HasPrefix(version, symbolsKnownFor), version
}

// overlay writes a file for go build's -overlay that puts what is here in the place of parts of the standard library, and
// returns its name.
func overlay() (string, error) {
	root, err := goroot()
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	if err := substitute(replace, filepath.Join(root, "src", "fmt", "*.go"), "js/build/fmt/fmt.go"); err != nil {
		return "", err
	}
	if isKnown, _ := knownGo(); isKnown {
		if err := substitute(replace, filepath.Join(root, "src", "internal", "strconv", "ftoa*.go"), "js/build/strconv/ftoa.go"); err != nil {
			return "", err
		}
	}
	file, err := os.CreateTemp("", "overlay-*.json")
	if err != nil {
		return "", err
	}
	err = json.NewEncoder(file).Encode(map[string]any{"Replace": replace})
	return file.Name(), errors.Join(err, file.Close())
}

// substitute lets our file stand for those that match the pattern.
func substitute(replace map[string]string, pattern, ours string) error {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		return fmt.Errorf("there is no %s: %w", pattern, errors.Join(err, fs.ErrNotExist))
	}
	for _, file := range files {
		replace[file] = "" // absent
	}
	replace[files[0]], err = filepath.Abs(ours)
	return err
}

func goroot() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	return string(bytes.TrimSpace(root)), err
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
	root, err := goroot()
	if err != nil {
		return api.Plugin{}, fmt.Errorf("go env GOROOT: %w", err)
	}
	path := filepath.Join(root, "lib", "wasm", "wasm_exec.js")
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
