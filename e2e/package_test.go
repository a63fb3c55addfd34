package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// checkSourceMaps checks that each source map contains its sources, and that Node.js finds the line that throws.
func checkSourceMaps(t *testing.T, project string) {
	t.Helper()
	installed := filepath.Join(project, "node_modules", "eventsource-wasm")
	maps, err := filepath.Glob(filepath.Join(installed, "*.map"))
	if err != nil || len(maps) != 5 {
		t.Fatalf("the package has the source maps %q, %v", maps, err)
	}
	for _, path := range maps {
		checkSourceMap(t, path)
	}
	write(t, filepath.Join(project, "stack.mjs"), `import { EventSource } from "eventsource-wasm";
try { new EventSource("http://127.0.0.1/", { retry: { factor: "2" } }); } catch ({ stack }) { console.log(stack); }`)
	stack := run(t, project, "node", "--enable-source-maps", "stack.mjs")
	place := regexp.MustCompile(`js/init\.js:(\d+):`).FindStringSubmatch(stack)
	if place == nil {
		t.Errorf("the stack does not lead to js/init.js:\n%s", stack)
	}
}

func checkSourceMap(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var sourceMap struct {
		Sources, SourcesContent []string
		Mappings                string
	}
	if err := json.Unmarshal(text, &sourceMap); err != nil {
		t.Fatal(err)
	}
	if len(sourceMap.Sources) == 0 || len(sourceMap.Sources) != len(sourceMap.SourcesContent) || sourceMap.Mappings == "" {
		t.Errorf("%s has %d sources, the text of %d, and %d bytes of mappings", path, len(sourceMap.Sources), len(sourceMap.SourcesContent), len(sourceMap.Mappings))
	}
	script, err := os.ReadFile(strings.TrimSuffix(path, ".map"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(strings.TrimSpace(string(script)), "//# sourceMappingURL="+filepath.Base(path)) {
		t.Errorf("%s does not name its source map", strings.TrimSuffix(path, ".map"))
	}
}

// npm shows the README without the repository, so its links must be absolute.
func checkNpmREADME(t *testing.T, project string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(project, "node_modules", "eventsource-wasm", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)]*)\)`).FindAllSubmatch(text, -1)
	if len(links) == 0 {
		t.Error("the README has no links")
	}
	for _, link := range links {
		path, ours := strings.CutPrefix(string(link[1]), "https://github.com/eventsource-wasm/eventsource-wasm/blob/main/")
		if !strings.HasPrefix(string(link[1]), "https://") {
			t.Errorf("the README links to %s: relative links do not work on npm", link[1])
		}
		path, _, _ = strings.Cut(path, "#")
		if ours && !exists(filepath.Join("..", filepath.FromSlash(path))) {
			t.Errorf("the README links to %s, which is not in the repository", path)
		}
	}
}
