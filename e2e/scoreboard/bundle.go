package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/eventsource-wasm/eventsource-wasm/e2e"
	"github.com/eventsource-wasm/eventsource-wasm/e2e/bench/peers"
)

// libraries installs the libraries among the candidates and returns a module for each, by path.
func libraries(ctx context.Context, of []candidate) (map[string][]byte, error) {
	scripts := map[string][]byte{}
	if !slices.ContainsFunc(of, func(c candidate) bool { return c.pkg != "" }) {
		return scripts, nil
	}
	folder, err := os.MkdirTemp("", "scoreboard-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if err := peers.Install(ctx, folder); err != nil {
		return nil, err
	}
	if err := os.CopyFS(folder, adapters); err != nil {
		return nil, err
	}
	for _, c := range of {
		if c.pkg == "" {
			continue
		}
		built, err := bundle(folder, true, "adapters/"+c.id+".mjs")
		if err != nil {
			return nil, err
		}
		scripts[scriptPath(c.id)] = built["adapters/"+c.id+".js"]
	}
	return scripts, nil
}

// harness bundles the measuring page and each file of scenarios, by path. This saves two thirds of the requests.
func harness() (map[string][]byte, error) {
	folder, err := os.MkdirTemp("", "scoreboard-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if err := os.CopyFS(folder, e2e.Files()); err != nil {
		return nil, err
	}
	entries, err := filepath.Glob(filepath.Join(folder, "scenarios", "*.js"))
	if err != nil {
		return nil, err
	}
	for n, entry := range entries {
		if entries[n], err = filepath.Rel(folder, entry); err != nil {
			return nil, err
		}
	}
	built, err := bundle(folder, false, append(entries, "harness/measure.js")...)
	if err != nil {
		return nil, err
	}
	scripts := map[string][]byte{}
	for name, content := range built {
		scripts["/"+name] = content
	}
	// Scenarios expect the page under this name.
	if scripts["/harness/run.html"], err = fs.ReadFile(e2e.Files(), "harness/measure.html"); err != nil {
		return nil, err
	}
	return scripts, nil
}

// bundle makes a module of each entry in a folder, by its path. With keepNames, functions and classes keep their names,
// which scripts can see.
func bundle(folder string, keepNames bool, entries ...string) (map[string][]byte, error) {
	result := api.Build(api.BuildOptions{
		EntryPoints:   entries,
		AbsWorkingDir: folder,
		Outbase:       folder,
		Outdir:        folder, // written nowhere
		Bundle:        true,
		External:      []string{"/dist/*"},
		KeepNames:     keepNames,
		Platform:      api.PlatformBrowser,
		Format:        api.FormatESModule,
		Target:        api.ESNext,
		Charset:       api.CharsetUTF8,
		Define:        map[string]string{"process.env.NODE_ENV": `"production"`},
	})
	if len(result.Errors) > 0 {
		return nil, fmt.Errorf("bundling %s: %s", entries[0], result.Errors[0].Text)
	}
	built := map[string][]byte{}
	for _, file := range result.OutputFiles {
		name, err := filepath.Rel(folder, file.Path)
		if err != nil {
			return nil, err
		}
		built[filepath.ToSlash(name)] = file.Contents
	}
	return built, nil
}
