package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

// labPages serves the pages of a lab. Each scenario file and the runner are bundled into one file, which saves two thirds
// of the requests.
func labPages(t *testing.T) http.Handler {
	t.Helper()
	files, err := bundles()
	if err != nil {
		t.Fatal(err)
	}
	all := pages()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := files[r.URL.Path]
		if !ok {
			all.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", mediaTypes[filepath.Ext(r.URL.Path)])
		w.Write(content)
	})
}

var mediaTypes = map[string]string{".js": "text/javascript", ".html": "text/html"}

// preload matches the preload links, which a bundle makes unnecessary.
var preload = regexp.MustCompile(`<link rel="modulepreload".*>\n`)

// bundles returns the bundles by path.
var bundles = sync.OnceValues(func() (map[string][]byte, error) {
	scenarios, err := filepath.Glob("scenarios/*.js")
	if err != nil {
		return nil, err
	}
	root, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	result := api.Build(api.BuildOptions{
		EntryPoints: append(scenarios, "harness/run.js"),
		Outbase:     root,
		Outdir:      root, // written nowhere
		Bundle:      true,
		External:    []string{"/dist/*"},
		Format:      api.FormatESModule,
		Target:      api.ESNext,
		Charset:     api.CharsetUTF8,
		LogLevel:    api.LogLevelWarning,
	})
	if len(result.Errors) > 0 {
		return nil, fmt.Errorf("bundling the scenarios: %s", result.Errors[0].Text)
	}
	page, err := files.ReadFile("harness/run.html")
	if err != nil {
		return nil, err
	}
	bundles := map[string][]byte{"/harness/run.html": preload.ReplaceAll(page, nil)}
	for _, file := range result.OutputFiles {
		name, err := filepath.Rel(root, file.Path)
		if err != nil {
			return nil, err
		}
		bundles["/"+filepath.ToSlash(name)] = file.Contents
	}
	return bundles, nil
})
