// Package core holds Triglot's nouns and the contract between the replicated
// store and whatever faces a client.
//
// It owns no state and starts no goroutine: it is types, interfaces and the
// closed list of error kinds. It imports the standard library only. A front end
// imports this package and nothing else of the store; core/node implements the
// contract.
//
// Aliasing: every []byte and every pointer that crosses the contract is
// immutable from the moment it is handed over, in both directions. A caller may
// keep it for as long as it likes and must never write to it.
package core
