package triglot;

import java.util.Arrays;
import java.util.List;
import java.util.Queue;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;

/** What the parts of the ordering test share: the znodes, the work left, what was written and what was wrong. */
final class Changes {
  /** Enough to see the pattern of what is wrong. */
  private static final int MAX_COMPLAINTS = 20;

  /** Znodes that are there all the time; anybody sets them. */
  final List<String> data;

  /** Index of the one that is set far more often than the others. */
  static final int HOT = 0;

  /** Znodes that come and go; each belongs to one writer. */
  final List<String> fleeting;

  /** Znodes whose children come and go. */
  final List<String> parents;

  /** The zxids at which each of {@link #data} was written, as the replies told. */
  private final List<Queue<Long>> history;

  private final AtomicLong open;
  private final AtomicLong made = new AtomicLong();
  private final Queue<String> complaints = new ConcurrentLinkedQueue<>();

  Changes(String root, int count) {
    data = names(root + "/data", 300);
    fleeting = names(root + "/fleeting", 60);
    parents = names(root + "/parent", 10);
    history = data.stream().<Queue<Long>>map(path -> new ConcurrentLinkedQueue<>()).toList();
    open = new AtomicLong(count);
  }

  private static List<String> names(String prefix, int count) {
    return IntStream.range(0, count).mapToObj(i -> prefix + i).toList();
  }

  /** Index of a data znode to set. */
  int pick(Random random) {
    return random.nextInt(8) == 0 ? HOT : random.nextInt(data.size());
  }

  /** Takes a share of the work; false if all of it is taken. */
  boolean take() {
    return open.getAndDecrement() > 0;
  }

  void made() {
    made.incrementAndGet();
  }

  /** A write of {@link #data} was acknowledged with that zxid. */
  void wrote(int index, long zxid) {
    history.get(index).add(zxid);
    made.incrementAndGet();
  }

  long count() {
    return made.get();
  }

  void complain(String format, Object... arguments) {
    if (complaints.size() < MAX_COMPLAINTS) {
      complaints.add(String.format(format, arguments));
    }
  }

  String complaints() {
    return String.join("\n", complaints);
  }

  /** For each of {@link #data}, its zxids in order; once nobody writes any more. */
  long[][] sorted() {
    return history.stream()
        .map(zxids -> zxids.stream().mapToLong(Long::longValue).sorted().toArray())
        .toArray(long[][]::new);
  }

  /** The first of the sorted zxids behind one, or -1. */
  static long next(long[] zxids, long behind) {
    int at = Arrays.binarySearch(zxids, behind + 1);
    at = at < 0 ? -at - 1 : at;
    return at < zxids.length ? zxids[at] : -1;
  }
}
