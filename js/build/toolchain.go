package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/version"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A toolchain is the Go version that compiles the module.
type toolchain struct {
	version string // such as go1.26.8
	root    string // its GOROOT
	layout  layout // of the programs that it links; zero if unknown
}

var errUnsupportedGo = errors.New("unsupported Go version")

func findToolchain() (toolchain, error) {
	output, err := exec.Command("go", "env", "-json", "GOVERSION", "GOROOT").Output()
	if err != nil {
		return toolchain{}, fmt.Errorf("go env: %w", err)
	}
	var env struct{ GOVERSION, GOROOT string }
	if err := json.Unmarshal(output, &env); err != nil {
		return toolchain{}, fmt.Errorf("go env: %w", err)
	}
	return toolchain{env.GOVERSION, env.GOROOT, layoutOf(env.GOVERSION)}, nil
}

// layoutOf returns the layout of the programs that a version of Go links, or the zero layout.
func layoutOf(goVersion string) layout {
	release, _, _ := strings.Cut(goVersion, " ") // "go1.26.8 X:nogreenteagc"
	return layouts[version.Lang(release)]
}

// supported returns nil if the build can reduce the module's size with this Go version.
func (t toolchain) supported() error {
	if t.layout == (layout{}) {
		known := strings.Join(slices.Sorted(maps.Keys(layouts)), " and ")
		return fmt.Errorf("%w %s (supported: %s)", errUnsupportedGo, t.version, known)
	}
	return nil
}

// build runs go build for the browser with args.
func (t toolchain) build(args ...string) error { return goBuild("go", args, "GOOS=js", "GOARCH=wasm") }

// buildSmall is build with parts of the standard library replaced, and without Green Tea, a garbage collector for many
// processors that is larger than the previous one.
//
// Go refuses to overlay files in its module cache, and compares file names for that. A toolchain that Go has downloaded is in the
// module cache, so it gets another name during the build.
func (t toolchain) buildSmall(args ...string) error {
	folder, err := os.MkdirTemp("", "eventsource-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	alias := toolchain{t.version, filepath.Join(folder, "goroot"), t.layout}
	if err := os.Symlink(t.root, alias.root); err != nil {
		return err
	}
	overlay, err := alias.overlay(folder)
	if err != nil {
		return err
	}
	return goBuild(filepath.Join(alias.root, "bin", "go"), append([]string{"-overlay", overlay}, args...),
		"GOOS=js", "GOARCH=wasm", "GOROOT="+alias.root, "GOTOOLCHAIN=local", "GOEXPERIMENT=nogreenteagc")
}

func goBuild(program string, args []string, env ...string) error {
	cmd := exec.Command(program, append([]string{"build"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// overlay writes a file for go build's -overlay into folder, and returns its name.
func (t toolchain) overlay(folder string) (string, error) {
	replace := map[string]string{}
	if err := errors.Join(t.replaceFmt(replace), t.shortenFloats(replace, folder)); err != nil {
		return "", err
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(folder, "overlay.json")
	return name, os.WriteFile(name, content, 0o600)
}

// replaceFmt replaces package fmt by our file.
func (t toolchain) replaceFmt(replace map[string]string) error {
	files, err := filepath.Glob(filepath.Join(t.root, "src", "fmt", "*.go"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no package fmt in %s: %w", t.root, errors.Join(err, fs.ErrNotExist))
	}
	for _, file := range files {
		replace[file] = "" // removes it
	}
	replace[files[0]], err = filepath.Abs("js/build/fmt/fmt.go")
	return err
}

// shortenFloats makes AppendFloat in internal/strconv call our function, so that the rest is not linked.
func (t toolchain) shortenFloats(replace map[string]string, folder string) error {
	library := filepath.Join(t.root, "src", "internal", "strconv")
	original := filepath.Join(library, "ftoa.go")
	source, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	changed, err := replaceBody(source, "AppendFloat", "return appendBinary(dst, f, bitSize)")
	if err != nil {
		return fmt.Errorf("%s: %w", original, err)
	}
	replace[original] = filepath.Join(folder, "ftoa.go")
	if err := os.WriteFile(replace[original], changed, 0o600); err != nil {
		return err
	}
	replace[filepath.Join(library, "binary.go")], err = filepath.Abs("js/build/strconv/binary.go")
	return err
}

// replaceBody returns a Go file in which the function has another body.
func replaceBody(source []byte, name, body string) ([]byte, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "", source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Recv != nil || function.Name.Name != name || function.Body == nil {
			continue
		}
		start, end := files.Position(function.Body.Lbrace).Offset, files.Position(function.Body.Rbrace).Offset
		return bytes.Join([][]byte{source[:start+1], source[end:]}, []byte("\n\t"+body+"\n")), nil
	}
	return nil, fmt.Errorf("no function %s", name)
}
