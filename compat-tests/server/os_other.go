//go:build unix && !linux

package server

import "syscall"

// dieWithParent has no equivalent outside Linux: there a killed test binary can
// leave its server behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
