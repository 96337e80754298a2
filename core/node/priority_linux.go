package node

import "syscall"

// lowest is the priority of the thread: that of work that can wait.
const lowest = 19

// lowerPriority lowers the priority of the calling thread, which on Linux is what a
// priority is of. Where that is not allowed it stays as it is.
func lowerPriority() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), lowest) }
