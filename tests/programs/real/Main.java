import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Null pointers that the virtual machine finds by SIGSEGV, threads stopped at safepoints, collections, a child. */
public class Main {
    static int[] nothing;

    static int faults(int count) {
        int caught = 0;
        for (int i = 0; i < count; i++) {
            try {
                nothing[i & 7]++;
            } catch (NullPointerException expected) {
                caught++;
            }
        }
        return caught;
    }

    static long depth(long n) {
        return n == 0 ? 0 : 1 + depth(n - 1);
    }

    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Integer>> results = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            results.add(pool.submit(() -> faults(300)));
        }
        for (Future<Integer> each : results) {
            System.out.println("caught " + each.get());
        }
        List<byte[]> kept = new ArrayList<>();
        for (int i = 0; i < 2000; i++) {
            kept.add(new byte[50000]);
            if (kept.size() > 50) {
                kept.clear();
            }
        }
        System.gc();
        try {
            depth(100000000L);
            System.out.println("deep");
        } catch (StackOverflowError expected) {
            System.out.println("too deep");
        }
        for (int i = 0; i < 30; i++) {
            Thread thread = new Thread(() -> faults(10));
            thread.start();
            thread.join();
        }
        Process child = new ProcessBuilder("sh", "-c", "echo a child; exit 4").redirectErrorStream(true).start();
        System.out.println(new String(child.getInputStream().readAllBytes()).trim() + " " + child.waitFor());
        pool.shutdown();
        System.exit(5);
    }
}
