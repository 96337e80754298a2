// Package report says what a load has measured: as JSON for a program, as a table for a
// terminal, and as a page of HTML that needs nothing from elsewhere.
package report
