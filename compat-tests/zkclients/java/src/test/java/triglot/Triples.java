package triglot;

import java.util.Arrays;

/** Very many observations of three numbers each. */
final class Triples {
  private long[] numbers = new long[3 * 1024];
  private int used;

  void add(long first, long second, long third) {
    if (used == numbers.length) {
      numbers = Arrays.copyOf(numbers, 2 * used);
    }
    numbers[used++] = first;
    numbers[used++] = second;
    numbers[used++] = third;
  }

  int size() {
    return used / 3;
  }

  void forEach(Visitor visitor) {
    for (int i = 0; i < used; i += 3) {
      visitor.visit(numbers[i], numbers[i + 1], numbers[i + 2]);
    }
  }

  /** Takes one observation. */
  interface Visitor {
    void visit(long first, long second, long third);
  }
}
