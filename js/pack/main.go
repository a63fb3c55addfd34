// Command pack makes the tarball of the npm package in dist/, like npm pack, but without npm. It packs only the files that
// package.json lists. The same files result in the same bytes.
package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// always has the files that npm packs even if package.json does not list them.
var always = []string{"package.json", "README.md", "LICENSE"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("pack: ")
	from := flag.String("from", "dist", "`folder` of the package")
	to := flag.String("to", "dist/release", "`folder` for the tarball")
	flag.Parse()
	tarball, err := pack(*from, *to)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tarball)
}

type manifest struct {
	Name, Version string
	Files         []string
}

// pack writes the tarball and returns its name.
func pack(from, to string) (tarball string, err error) {
	text, err := os.ReadFile(filepath.Join(from, "package.json"))
	if err != nil {
		return "", fmt.Errorf("%w: run `make build` first", err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return "", err
	}
	names, err := m.names(from)
	if err != nil {
		return "", err
	}
	tarball = filepath.Join(to, m.Name+"-"+m.Version+".tgz")
	if err := os.MkdirAll(to, 0o755); err != nil {
		return "", err
	}
	out, err := os.Create(tarball)
	if err != nil {
		return "", err
	}
	return tarball, errors.Join(write(out, from, names), out.Close())
}

// names returns the files of the package, or an error if one is missing.
func (m manifest) names(folder string) (names []string, err error) {
	for _, pattern := range append(always, m.Files...) {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no %s in %s: run `make build` first", pattern, folder)
		}
		for _, path := range found {
			names = append(names, filepath.Base(path))
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func write(w io.Writer, folder string, names []string) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, name := range names {
		if err := add(archive, folder, name); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}

// add adds a file with the fixed modification time that npm uses, so that the tarball is reproducible.
func add(archive *tar.Writer, folder, name string) error {
	content, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		return err
	}
	header := &tar.Header{
		Name:    "package/" + name,
		Mode:    0o644,
		Size:    int64(len(content)),
		ModTime: time.Date(1985, time.October, 26, 8, 15, 0, 0, time.UTC),
	}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = archive.Write(content)
	return err
}
