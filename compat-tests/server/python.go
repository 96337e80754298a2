package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Python returns the interpreter of a virtual environment with what a file of pip's
// requirements names: below .build, made unless there is one already. The directory is
// named after the requirements.
func Python(ctx context.Context, requirements string) (python string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".build", "compat", fmt.Sprintf("python-%x", sha256.Sum256(content))[:19])
	python, done := filepath.Join(dir, "bin", "python"), filepath.Join(dir, "complete")
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	unlock, err := LockFile(dir + ".lock") // test binaries of several packages run at once
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(done); err == nil {
		return python, nil
	}
	if output, err := exec.CommandContext(ctx, "python3", "-m", "venv", "--clear", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("python3 with venv is needed: apt-get install python3-venv: %w\n%s", err, output)
	}
	pip := exec.CommandContext(ctx, python, "-m", "pip", "install", "--quiet", "--requirement", requirements)
	if output, err := pip.CombinedOutput(); err != nil {
		return "", fmt.Errorf("pip install: %w\n%s", err, output)
	}
	return python, os.WriteFile(done, nil, 0o644)
}
