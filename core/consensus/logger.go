package consensus

import (
	"context"
	"fmt"
	"log/slog"
)

// raftLogger writes raft's messages to a slog.Logger. They are formatted only if
// they are wanted. What raft calls information is for debugging: it reports every
// step of an election, and things that are in order. The replica logs what an
// operator needs to know.
type raftLogger struct{ to *slog.Logger }

// raftPanic is the value that raft panics with when it finds an invariant
// broken, such as a log that has lost what the member once acknowledged.
type raftPanic string

func (p raftPanic) Error() string { return "raft: " + string(p) }

func (l raftLogger) log(level slog.Level, v []any) {
	if ctx := context.Background(); l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, fmt.Sprint(v...))
	}
}

func (l raftLogger) logf(level slog.Level, format string, v []any) {
	if ctx := context.Background(); l.to.Enabled(ctx, level) {
		l.to.Log(ctx, level, fmt.Sprintf(format, v...))
	}
}

func (l raftLogger) Debug(v ...any)                   { l.log(slog.LevelDebug, v) }
func (l raftLogger) Debugf(format string, v ...any)   { l.logf(slog.LevelDebug, format, v) }
func (l raftLogger) Info(v ...any)                    { l.log(slog.LevelDebug, v) }
func (l raftLogger) Infof(format string, v ...any)    { l.logf(slog.LevelDebug, format, v) }
func (l raftLogger) Warning(v ...any)                 { l.log(slog.LevelWarn, v) }
func (l raftLogger) Warningf(format string, v ...any) { l.logf(slog.LevelWarn, format, v) }
func (l raftLogger) Error(v ...any)                   { l.log(slog.LevelError, v) }
func (l raftLogger) Errorf(format string, v ...any)   { l.logf(slog.LevelError, format, v) }

// A fatal error and a panic are one to us: the driver stops the member.

func (l raftLogger) Fatal(v ...any)                 { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Fatalf(format string, v ...any) { panic(raftPanic(fmt.Sprintf(format, v...))) }
func (l raftLogger) Panic(v ...any)                 { panic(raftPanic(fmt.Sprint(v...))) }
func (l raftLogger) Panicf(format string, v ...any) { panic(raftPanic(fmt.Sprintf(format, v...))) }
