// Package logging writes log lines in the forms that a member's operator may ask
// for: etcd's JSON, etcd's console form, and a form for people.
//
// A handler owns a buffer and the order of the lines of one output. It formats
// and writes; it decides nothing, and it never drops a line that its level lets
// through.
package logging
