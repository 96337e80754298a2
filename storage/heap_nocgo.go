//go:build !cgo

package storage

// engineOnHeap says whether what the engine caches is Go heap, which the runtime's memory
// limit counts.
const engineOnHeap = true
