// Package measure counts what a load does and what it costs: latencies in histograms
// of a fixed size, and the CPU, memory and disk that processes of this machine use.
//
// It knows no protocol and starts no goroutine.
package measure
