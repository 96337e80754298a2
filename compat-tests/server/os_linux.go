package server

import "syscall"

// dieWithParent asks the kernel to kill the child when the thread that started
// it ends; the caller keeps that thread for as long as the child lives.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
