package nodetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for name, test := range map[string]struct{ node, want string }{
		"missing":       {"", "npm"},
		"new enough":    {"20.19.0", ""},
		"newer":         {"24.1.0", ""},
		"too old":       {"20.18.9", "node is version 20.18"},
		"much too old":  {"9.99.0", "node is version 9.99"},
		"not a version": {"next", `node is version "next`},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			t.Setenv("PATH", folder)
			if test.node != "" {
				write(t, folder, "npm", "")
				write(t, folder, "node", "echo "+test.node)
			}
			err := find()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func write(t *testing.T, folder, name, code string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\n"+code+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}
