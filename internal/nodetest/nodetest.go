// Package nodetest is for tests that run Node.js.
package nodetest

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Require skips the test if Node.js 20.19 or later or npm is missing. In CI, where .ci/node installs both, it fails instead.
func Require(t testing.TB) {
	t.Helper()
	err := find()
	switch {
	case err == nil:
	case os.Getenv("CI") != "":
		t.Fatalf("%v: .ci/node should have installed Node.js 20.19 or later, and npm", err)
	default:
		t.Skipf("%v: install Node.js 20.19 or later, and npm", err)
	}
}

func find() error {
	if _, err := exec.LookPath("npm"); err != nil {
		return err
	}
	version, err := exec.Command("node", "--print", "process.versions.node").Output()
	if err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(version), "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("node is version %q: %w", version, err)
	}
	if major < 20 || major == 20 && minor < 19 {
		return fmt.Errorf("node is version %d.%d", major, minor)
	}
	return nil
}
