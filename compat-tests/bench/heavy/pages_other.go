//go:build !linux

package main

import "errors"

func dropPages(string) error { return errors.ErrUnsupported }
