//go:build !js

package eventsource_test

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The browser build must not link these packages, because they would make a program much larger.
func TestImportsOfBrowserBuild(t *testing.T) {
	never := []string{"net", "net/http", "net/url", "net/textproto", "encoding/json", "regexp", "bufio", "log", "math/big", "crypto/tls"}
	cmd := exec.Command("go", "list", "-deps", ".")
	cmd.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	linked := strings.Fields(string(output))
	for _, path := range never {
		if slices.Contains(linked, path) {
			t.Errorf("%s is linked into the browser build", path)
		}
	}
	if !slices.Contains(linked, "github.com/hack-pad/safejs") {
		t.Error("this is not the browser build")
	}
}
