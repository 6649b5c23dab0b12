import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/** What differed, what of it is meant, and how much agreed. */
final class Report {
    private final Allowed allowed;
    private final boolean verbose;
    private final Map<String, Integer> summary = new TreeMap<>();
    private int agreed;
    private int meant;
    private int differed;

    Report(Allowed allowed, boolean verbose) {
        this.allowed = allowed;
        this.verbose = verbose;
    }

    void compare(String conversation, String when, String api, int version, Map<String, String> apache,
            Map<String, String> ringmain) {
        Map<String, String[]> differences = differences(apache, ringmain);
        boolean any = !differences.isEmpty();
        differences.entrySet().removeIf(difference -> allowed.allows(api, version, when, difference.getKey(),
            difference.getValue()[0], difference.getValue()[1]));
        if (verbose) {
            System.out.println(conversation + ": " + when + " (" + api + " v" + version + "): " + apache);
        }
        if (differences.isEmpty()) {
            agreed += any ? 0 : 1;
            meant += any ? 1 : 0;
            return;
        }
        differed++;
        System.out.println("DIFFERS " + conversation + ": " + when + " (" + api + " v" + version + ")");
        differences.forEach((path, values) -> {
            System.out.println("    " + path + ": Apache " + values[0] + ", ringmain " + values[1]);
            String general = api + " | " + when + " | " + path.replaceAll("\\[[^\\]]*[-x][^\\]]*\\]", "[*]")
                + " | " + values[0] + " | " + values[1];
            summary.merge(general, 1, Integer::sum);
        });
    }

    /** Where two answers differ, as shortly as it can be said: path, Apache's value, ours. */
    private static Map<String, String[]> differences(Map<String, String> apache, Map<String, String> ringmain) {
        Map<String, String[]> differences = new LinkedHashMap<>();
        if (apache.containsKey("answer") != ringmain.containsKey("answer")) {
            differences.put("answer", new String[] {
                apache.getOrDefault("answer", "present"), ringmain.getOrDefault("answer", "present"),
            });
            return differences;
        }
        TreeSet<String> paths = new TreeSet<>(apache.keySet());
        paths.addAll(ringmain.keySet());
        for (String whole : paths) {
            String left = apache.getOrDefault(whole, "absent");
            String right = ringmain.getOrDefault(whole, "absent");
            if (!left.equals(right)) {
                String path = missing(whole, left.equals("absent") ? apache : right.equals("absent") ? ringmain : null);
                left = left.equals("absent") || path.equals(whole) ? left : "present";
                right = right.equals("absent") || path.equals(whole) ? right : "present";
                differences.put(path, new String[] {left, right});
            }
        }
        // What stands beside an error follows from it.
        List<String> errors = differences.keySet().stream().filter(path -> path.endsWith("errorCode")).toList();
        for (String error : errors) {
            String beside = error.substring(0, error.length() - "errorCode".length());
            differences.keySet().removeIf(path -> path.startsWith(beside) && !path.endsWith("errorCode"));
        }
        return differences;
    }

    /** The outermost element of a list that a side lacks altogether, in place of each of its fields. */
    private static String missing(String path, Map<String, String> lacking) {
        for (int end = path.indexOf(']'); lacking != null && end >= 0; end = path.indexOf(']', end + 1)) {
            String element = path.substring(0, end + 1);
            if (lacking.keySet().stream().noneMatch(other -> other.startsWith(element))) {
                return element;
            }
        }
        return path;
    }

    void skipped(String conversation, String api) {
        System.out.println(conversation + ": skipped, since ringmain does not serve " + api);
    }

    void failed(String conversation, String when, String what) {
        differed++;
        System.out.println("FAILED " + conversation + ": " + when + ": " + what);
    }

    /** Prints the totals; true if nothing differed that is not meant, and no row was in vain. */
    boolean finish(boolean everything) {
        if (differed > 0) {
            System.out.println("in short:");
            summary.forEach((line, count) -> System.out.println("    " + count + " x | " + line));
        }
        int stale = 0;
        if (everything) {
            for (String row : allowed.unused()) {
                System.out.println("this difference occurs no longer: " + row);
                stale++;
            }
        }
        System.out.println(agreed + " requests answered alike, " + meant + " with differences that are meant");
        System.out.println((agreed + meant) + " passed, " + (differed + stale) + " failed");
        return differed + stale == 0;
    }
}
