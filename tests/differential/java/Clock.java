/** The one point in time that all timestamps of a run count from: an hour ago, so that it is never mistaken for now. */
final class Clock {
    static final long BASE = System.currentTimeMillis() - 3_600_000;
    private static final long NEAR = 600_000;

    private Clock() {
    }

    /** A number as it is compared: times near the base by their distance, times near now as one word. */
    static String told(long number) {
        if (Math.abs(number - BASE) < NEAR) {
            return "base" + (number == BASE ? "" : "+" + (number - BASE));
        }
        return Math.abs(number - System.currentTimeMillis()) < NEAR ? "now" : null;
    }
}
