package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// BuildMeasured builds Triglot at a path, for benchmarks: as make does, but with symbols, for
// profiles, and without what changes with every commit, for a page or a note that is committed
// is to make no result old. Root is the repository's.
func BuildMeasured(ctx context.Context, root, path string) error {
	t := tools["triglot"]
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, t.pkg)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", t.pkg, err, out)
	}
	return nil
}

// hashDigits is how much of a hash tells builds apart.
const hashDigits = 16

// HashFile is the hash of a file, short, by which results name the build that they are of.
func HashFile(path string) (_ string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil))[:hashDigits], nil
}
