package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc/grpclog"

	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/cmd/triglot/logging"
)

// journal is the open log of the process.
type journal struct {
	*slog.Logger
	// plain is set if a person reads stderr: the last line goes there as it is.
	plain bool
	files []io.WriteCloser
	// out is what all lines go to; last is how the last of them is written.
	out  *output
	last func(io.Writer) slog.Handler
}

// output is where lines go until the last one has been written. Goroutines share it.
type output struct {
	mu    sync.Mutex // held while a line is written
	w     io.Writer
	ended bool
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return len(line), nil
	}
	return o.w.Write(line)
}

// end writes the last line. Others go on for as long as the process does, and have nothing
// to say that matters any more.
func (o *output) end(write func(io.Writer)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	write(o.w)
	o.ended = true
}

// openJournal opens the outputs of the log and makes them the whole process's.
func (p *process) openJournal(cfg *config.Log) (*journal, error) {
	j, err := p.newJournal(cfg)
	if err != nil {
		return nil, err
	}
	slog.SetDefault(j.Logger) // and so that of package log
	grpclog.SetLoggerV2(grpcLogger{j.Logger})
	return j, nil
}

func (p *process) newJournal(cfg *config.Log) (*journal, error) {
	j := &journal{plain: cfg.Format == "text"}
	var outputs []io.Writer
	for _, name := range cfg.Outputs {
		switch name {
		case "stderr":
			outputs = append(outputs, p.stderr)
		case "stdout":
			outputs = append(outputs, p.stdout)
		default:
			f, err := openLog(name, cfg.Rotation)
			if err != nil {
				return nil, errors.Join(fmt.Errorf("--log-outputs: %w", err), j.close())
			}
			j.files = append(j.files, f)
			outputs = append(outputs, f)
		}
	}
	j.out = &output{w: outputs[0]}
	if len(outputs) > 1 {
		j.out.w = io.MultiWriter(outputs...)
	}
	formats := map[string]logging.Format{"json": logging.JSON, "console": logging.Console, "text": logging.Text}
	j.last = func(w io.Writer) slog.Handler { return logging.NewHandler(w, formats[cfg.Format], cfg.Level) }
	j.Logger = slog.New(j.last(j.out))
	return j, nil
}

// openLog opens a file of the log.
func openLog(path string, r *config.Rotation) (io.WriteCloser, error) {
	if r == nil {
		return os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	}
	return logging.OpenRotated(path, logging.Rotation{
		MaxBytes:   int64(cmp.Or(r.MaxSize, 100)) << 20,
		MaxAge:     time.Duration(r.MaxAge) * 24 * time.Hour,
		MaxBackups: r.MaxBackups,
		LocalTime:  r.LocalTime,
		Compress:   r.Compress,
	})
}

func (j *journal) close() error {
	var errs []error
	for _, f := range j.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// fatal says why the process ends: one line, the last one, in the form that its reader
// expects.
func (j *journal) fatal(p *process, err error) {
	j.out.end(func(w io.Writer) {
		if j.plain {
			p.complain(err)
			return
		}
		slog.New(j.last(w)).Log(context.Background(), logging.LevelFatal, "the server cannot run", "error", oneLine(err))
	})
}

func logNotes(l *slog.Logger, notes []config.Note) {
	for _, n := range notes {
		l.Log(context.Background(), n.Level, n.Text, n.Attrs...)
	}
}

// grpcLogger passes on what grpc-go and the gateway have to say, for who looks for it:
// it is about single connections and calls, and a client could fill the log with it.
type grpcLogger struct{ *slog.Logger }

func (l grpcLogger) Info(...any)                  {}
func (l grpcLogger) Infoln(...any)                {}
func (l grpcLogger) Infof(string, ...any)         {}
func (l grpcLogger) Warning(args ...any)          { l.Debug(fmt.Sprint(args...)) }
func (l grpcLogger) Warningln(args ...any)        { l.Debug(fmt.Sprint(args...)) }
func (l grpcLogger) Warningf(f string, a ...any)  { l.Debug(fmt.Sprintf(f, a...)) }
func (l grpcLogger) Error(args ...any)            { l.Debug(fmt.Sprint(args...)) }
func (l grpcLogger) Errorln(args ...any)          { l.Debug(fmt.Sprint(args...)) }
func (l grpcLogger) Errorf(f string, args ...any) { l.Debug(fmt.Sprintf(f, args...)) }
func (l grpcLogger) Fatal(args ...any)            { panic(fmt.Sprint(args...)) }
func (l grpcLogger) Fatalln(args ...any)          { panic(fmt.Sprint(args...)) }
func (l grpcLogger) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
func (l grpcLogger) V(int) bool                   { return false }
