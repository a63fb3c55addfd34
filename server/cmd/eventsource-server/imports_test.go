package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The program does not link the demo, the conformance suite or test packages.
func TestImports(t *testing.T) {
	const module = "github.com/eventsource-wasm/eventsource-wasm/"
	output, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{.EmbedFiles}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := 0
	for line := range strings.Lines(string(output)) {
		path, embedded, _ := strings.Cut(strings.TrimSpace(line), " ")
		own, isOwn := strings.CutPrefix(path, module)
		for _, unwanted := range []string{"e2e", "wasm", "js", "server/cmd/demo", "server/cmd/internal/cmdtest"} {
			if isOwn && (own == unwanted || strings.HasPrefix(own, unwanted+"/")) {
				t.Errorf("the program imports %s", path)
			}
		}
		isPage := own == "server/cmd/eventsource-server" && embedded == "[demo.html]"
		if path == "testing" || isOwn && embedded != "[]" && !isPage {
			t.Errorf("the program links %s", line)
		}
		if isOwn {
			packages++
		}
	}
	if packages < 3 {
		t.Errorf("there are %d packages of this module in:\n%s", packages, output)
	}
}
