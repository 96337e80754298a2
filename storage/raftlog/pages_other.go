//go:build !linux

package raftlog

import "github.com/triglot/triglot/storage"

func forgetPages(storage.File) {}
