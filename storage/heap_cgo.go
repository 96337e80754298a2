//go:build cgo

package storage

// engineOnHeap: the engine takes its caches from the C library.
const engineOnHeap = false
