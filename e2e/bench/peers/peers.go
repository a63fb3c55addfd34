// Package peers holds the libraries that ours is compared with, at pinned versions: the benchmarks and the scoreboard
// install the same ones.
package peers

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

//go:embed *.mjs package.json package-lock.json
var files embed.FS

// Install installs the libraries and the files of this folder into a folder. It uses npm's cache if possible.
func Install(ctx context.Context, folder string) error {
	if err := os.CopyFS(folder, files); err != nil {
		return err
	}
	install := exec.CommandContext(ctx, "npm", "ci", "--prefer-offline", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = folder
	if output, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("installing the libraries to compare with: %w\n%s", err, output)
	}
	return nil
}

// Version returns the version of a library's npm package.
func Version(name string) (string, error) {
	data, err := files.ReadFile("package.json")
	if err != nil {
		return "", err
	}
	var manifest struct{ DevDependencies map[string]string }
	if err := json.Unmarshal(data, &manifest); err != nil {
		return "", fmt.Errorf("reading the versions of the libraries: %w", err)
	}
	version, ok := manifest.DevDependencies[name]
	if !ok {
		return "", fmt.Errorf("%s is not in package.json", name)
	}
	return version, nil
}
