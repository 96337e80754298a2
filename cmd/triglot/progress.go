package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress shows how far something long has come: a bar that moves on a terminal,
// and otherwise a line now and then. What is done within a moment shows nothing.
type progress struct {
	out      io.Writer
	terminal bool
	start    time.Time
	next     time.Time
	drawn    int // characters of the bar
}

const (
	firstProgress = time.Second
	barInterval   = 200 * time.Millisecond
	lineInterval  = 5 * time.Second
	barWidth      = 40
)

func newProgress(out io.Writer) *progress {
	now := time.Now()
	return &progress{out: out, terminal: isTerminal(out), start: now, next: now.Add(firstProgress)}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// report notes that done of total is done.
func (p *progress) report(done, total int64) {
	now := time.Now()
	if now.Before(p.next) || total <= 0 {
		return
	}
	part := min(float64(done)/float64(total), 1)
	left := "?"
	if spent := now.Sub(p.start); part > 0.01 {
		left = time.Duration(float64(spent) * (1 - part) / part).Round(time.Second).String()
	}
	if !p.terminal {
		p.next = now.Add(lineInterval)
		say(p.out, fmt.Sprintf("%3.0f%% read, about %s left\n", 100*part, left))
		return
	}
	p.next = now.Add(barInterval)
	full := int(part * barWidth)
	p.draw(fmt.Sprintf("[%s%s] %3.0f%%, about %s left", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*part, left))
}

// draw replaces the bar.
func (p *progress) draw(text string) {
	say(p.out, "\r"+text+strings.Repeat(" ", max(p.drawn-len(text), 0)))
	p.drawn = len(text)
}

// end takes the bar away.
func (p *progress) end() {
	if p.drawn > 0 {
		say(p.out, "\r"+strings.Repeat(" ", p.drawn)+"\r")
	}
}
